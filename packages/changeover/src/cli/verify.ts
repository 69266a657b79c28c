import type { Verdict } from '../changeover.ts';
import { renderVerdicts, summarizeVerdicts } from './render/verdicts.ts';
import { SLICE, type ExitCode, type Verb } from './verb.ts';

export const verify: Verb = {
  name: 'verify',
  summary: 'run all checks of the plan again; changes nothing',
  details:
    'At any time, before and after the cutover. Ends with 1 when a check fails, and with 3 when one is inconclusive or nothing was checked: no data is never a pass.',
  options: [SLICE],
  isReading: true,
  examples: [
    { command: 'changeover verify', does: 'all checks with what was seen' },
    { command: 'changeover verify --json | grep verdict', does: 'one verdict a line' },
  ],
  async run({ changeover, signal, screen, isNew }) {
    const verdicts = await changeover.verify({ signal });
    return {
      exitCode: exitCodeOfVerdicts(verdicts),
      text: [...renderVerdicts(screen, verdicts.filter(isNew)), summarizeVerdicts(screen, verdicts)].join('\n'),
      result: { verdicts },
    };
  },
};

function exitCodeOfVerdicts(verdicts: readonly Verdict[]): ExitCode {
  if (verdicts.some(({ outcome }) => outcome === 'FAIL')) return 1;
  return verdicts.length > 0 && verdicts.every(({ outcome }) => outcome === 'PASS') ? 0 : 3;
}
