import type { CutoverResult } from '../changeover.ts';
import { cleanLine } from './render/text.ts';
import { showDuration } from './render/units.ts';
import { renderVerdicts, summarizeVerdicts } from './render/verdicts.ts';
import { SLICE, DECLINED, standing, untold, type ExitCode, type Verb } from './verb.ts';

export const cutover: Verb = {
  name: 'cutover',
  summary: 'switch traffic and data to the new side',
  details:
    'Requests are held for the moment of the switch, none is refused. Says beforehand who serves, who may write, how long it takes and what undoes it. When a deadline is missed the legacy goes on serving, and the reason is told. Ends with 1 then, and with 3 when a check fails after the switch.',
  options: [SLICE],
  examples: [
    { command: 'changeover cutover', does: 'show what it means, ask, and switch' },
    { command: 'changeover cutover --yes --json', does: 'switch without a question, for a script' },
  ],
  async run(call) {
    if (!(await call.ask('cutover'))) return DECLINED;
    const { screen } = call;
    const result = await call.changeover.cutover({ signal: call.signal });
    const { style } = screen;
    // Given up because of Ctrl-C is interrupted, and no failure.
    const exitCode = result.reverted !== null && call.signal.aborted ? 3 : exitCodeOfCutover(result);
    const headline =
      result.reverted === null
        ? `${exitCode === 0 ? style.good('✔') : style.warn('!')} ${result.side} serves; requests were held for ${showDuration(result.holdMs)}`
        : `${style.bad('✖')} the switch was given up: ${cleanLine(result.reverted)}; ${result.side} serves on`;
    return {
      exitCode,
      text: [
        ...renderVerdicts(screen, untold(call, result.verdicts)),
        `${headline}  ${summarizeVerdicts(screen, result.verdicts)}`,
        ...(await standing(call)),
      ].join('\n'),
      result,
    };
  },
};

function exitCodeOfCutover({ reverted, verdicts }: CutoverResult): ExitCode {
  if (reverted !== null) return 1;
  return verdicts.some(({ outcome }) => outcome === 'FAIL') ? 3 : 0;
}
