import { cleanLine } from './render/text.ts';
import { plural } from './render/units.ts';
import { renderVerdicts } from './render/verdicts.ts';
import { DECLINED, exitCodeOf, standing, untold, type Verb } from './verb.ts';

export const rollback: Verb = {
  name: 'rollback',
  summary: 'back to the legacy, with everything written since',
  details:
    'At any time until `changeover finish`. Before the cutover it removes what the run has added; after it the legacy gets every write of the new side first.',
  options: [{ flags: '--dry-run', description: 'count what would be returned; changes nothing' }],
  examples: [
    { command: 'changeover rollback --dry-run', does: 'what it would return, and what it cannot' },
    { command: 'changeover rollback', does: 'show what it means, ask, and go back' },
  ],
  async run(call) {
    const dryRun = call.options['dryRun'] === true;
    if (!dryRun && !(await call.ask('rollback'))) return DECLINED;
    const { style } = call.screen;
    const outcome = await call.changeover.rollback({ dryRun, signal: call.signal });
    const returned = outcome.returned
      .filter(({ rows }) => rows > 0)
      .map(({ table, rows }) => `  ${plural(rows, 'row')} of ${cleanLine(table)}`);
    const verdicts = renderVerdicts(call.screen, untold(call, outcome.verdicts));
    if (dryRun) {
      const { notReturnable } = await call.changeover.status();
      const kept = notReturnable.map(
        ({ table, rows, reason }) =>
          `  ${style.warn('!')} not ${plural(rows, 'row')} of ${cleanLine(table)}: ${cleanLine(reason)}`,
      );
      const headline = returned.length === 0 ? 'A rollback would have no rows to return.' : 'A rollback would return';
      return {
        exitCode: 0,
        text: [headline, ...returned, ...kept, ...verdicts].join('\n'),
        result: { ...outcome, notReturnable },
      };
    }
    const isBack = outcome.status === 'rolled_back';
    const headline = isBack ? `${style.good('✔')} Rolled back` : `${style.warn('!')} Not rolled back`;
    return {
      exitCode: isBack ? 0 : exitCodeOf(outcome.status) || 1,
      text: [
        ...verdicts,
        `${headline}${returned.length === 0 ? '' : isBack ? '; returned' : '; returned so far'}`,
        ...returned,
        ...(await standing(call)),
      ].join('\n'),
      result: outcome,
    };
  },
};
