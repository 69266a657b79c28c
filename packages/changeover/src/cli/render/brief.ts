import type { DecisionBrief } from '../../changeover.ts';
import { cleanLine, columns, type Screen } from './text.ts';
import { showOutcome } from './verdicts.ts';

const HEADINGS: Readonly<Record<DecisionBrief['decision'], string>> = {
  run: 'Before the run',
  cutover: 'Before the cutover',
  rollback: 'Before the rollback',
  restore: 'Before the restore',
  finish: 'Before the end',
  uninstall: 'Before the removal',
};

/** The same questions before every decision: who serves, who may write, what changes, what undoes it, what is lost, how long, on which evidence. */
export function renderBrief(screen: Screen, brief: DecisionBrief): string {
  const { style } = screen;
  const several = (label: string, values: readonly string[]) =>
    values.map((value, index) => [style.dim(index === 0 ? label : ''), value]);
  const evidence = brief.evidence.map(
    ({ check, outcome, evidence: seen }) =>
      `${showOutcome(screen, outcome)}  ${cleanLine(check)}  ${style.dim(cleanLine(seen))}`,
  );
  const rows = [
    ...several('Serves', [cleanLine(brief.serves)]),
    ...several('May write', [cleanLine(brief.writes)]),
    ...several('Changes', brief.changes.length === 0 ? ['nothing'] : brief.changes.map(cleanLine)),
    ...several('Undone by', [cleanLine(brief.undoneBy)]),
    ...several('Lost', [cleanLine(brief.lost)]),
    ...several('Takes', [cleanLine(brief.duration)]),
    ...several('Evidence', evidence.length === 0 ? [style.warn('none: nothing has been verified yet')] : evidence),
  ];
  return [style.bold(HEADINGS[brief.decision]), ...columns(rows, { indent: 2, width: screen.width })].join('\n');
}
