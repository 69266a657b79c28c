import { cleanLine } from './render/text.ts';
import { plural } from './render/units.ts';
import { renderVerdicts } from './render/verdicts.ts';
import { SLICE, DECLINED, exitCodeOf, standing, untold, type Verb } from './verb.ts';

export const rollback: Verb = {
  name: 'rollback',
  summary: 'back to the legacy, with everything written since',
  details:
    'At any time until `changeover finish`. Before the cutover it removes what the run has added; after it the legacy gets every write of the new side first.',
  options: [
    SLICE,
    {
      flags: '--dry-run',
      description: 'show what the legacy would hold, and what it cannot take back; changes nothing',
    },
  ],
  examples: [
    { command: 'changeover rollback --dry-run', does: 'what the legacy would hold, and what it cannot take back' },
    { command: 'changeover rollback', does: 'show what it means, ask, and go back' },
  ],
  async run(call) {
    const dryRun = call.options['dryRun'] === true;
    if (!dryRun && !(await call.ask('rollback'))) return DECLINED;
    const { style } = call.screen;
    const outcome = await call.changeover.rollback({ dryRun, signal: call.signal });
    const legacy = outcome.legacy
      .filter(({ rows }) => rows > 0)
      .map(({ table, rows, unit }) => `  ${plural(rows, unit === 'rows' ? 'row' : 'file')} of ${cleanLine(table)}`);
    const verdicts = renderVerdicts(call.screen, untold(call, outcome.verdicts));
    if (dryRun) {
      const { notReturnable } = await call.changeover.status();
      const kept = notReturnable.map(
        ({ table, rows, reason }) =>
          `  ${style.warn('!')} not ${plural(rows, 'row')} of ${cleanLine(table)}: ${cleanLine(reason)}`,
      );
      const headline =
        legacy.length === 0 ? 'The legacy has no rows.' : 'The legacy, kept current, would serve again with';
      return {
        exitCode: 0,
        text: [headline, ...legacy, ...kept, ...verdicts].join('\n'),
        result: { ...outcome, notReturnable },
      };
    }
    const isBack = outcome.status === 'rolled_back';
    const headline = isBack ? `${style.good('✔')} Rolled back` : `${style.warn('!')} Not rolled back`;
    return {
      exitCode: isBack ? 0 : exitCodeOf(outcome.status) || 1,
      text: [
        ...verdicts,
        `${headline}${legacy.length === 0 ? '' : '; the legacy has'}`,
        ...legacy,
        ...(await standing(call)),
      ].join('\n'),
      result: outcome,
    };
  },
};
