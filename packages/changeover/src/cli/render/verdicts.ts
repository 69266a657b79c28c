import type { Finding, Verdict } from '../../changeover.ts';
import { cleanLine, columns, type Screen } from './text.ts';

export function showOutcome({ style }: Screen, outcome: Verdict['outcome']): string {
  switch (outcome) {
    case 'PASS':
      return style.good('PASS');
    case 'FAIL':
      return style.bad('FAIL');
    case 'INCONCLUSIVE':
      return style.warn('INCONCLUSIVE');
  }
}

/** One verdict a line, the failed ones first: they are what one looks for. */
export function renderVerdicts(screen: Screen, verdicts: readonly Verdict[], indent = 2): string[] {
  const order = ['FAIL', 'INCONCLUSIVE', 'PASS'];
  const sorted = verdicts.toSorted((a, b) => order.indexOf(a.outcome) - order.indexOf(b.outcome));
  const rows = sorted.map(({ check, outcome, evidence }) => [
    showOutcome(screen, outcome),
    cleanLine(check),
    screen.style.dim(cleanLine(evidence)),
  ]);
  return columns(rows, { indent, width: screen.width });
}

/** `12 passed, 1 failed, 2 inconclusive`; no verdict at all is said as such. */
export function summarizeVerdicts(screen: Screen, verdicts: readonly Verdict[]): string {
  const count = (outcome: Verdict['outcome']) => verdicts.filter((verdict) => verdict.outcome === outcome).length;
  const parts = [
    count('FAIL') > 0 ? screen.style.bad(`${count('FAIL')} failed`) : '',
    count('INCONCLUSIVE') > 0 ? screen.style.warn(`${count('INCONCLUSIVE')} inconclusive`) : '',
    count('PASS') > 0 ? screen.style.good(`${count('PASS')} passed`) : '',
  ].filter((part) => part !== '');
  return parts.length === 0 ? screen.style.warn('nothing was checked') : parts.join(', ');
}

/** What `check` and `plan` found, errors first, each with its remedy. */
export function renderFindings(screen: Screen, findings: readonly Finding[], indent = 2): string[] {
  const { style } = screen;
  const marks = { error: style.bad('✖'), warning: style.warn('!'), info: style.dim('·') };
  const order = ['error', 'warning', 'info'];
  return findings
    .toSorted((a, b) => order.indexOf(a.level) - order.indexOf(b.level))
    .flatMap(({ level, about, message, remedy }) => [
      ...columns([[marks[level], `${style.bold(cleanLine(about))}  ${cleanLine(message)}`]], {
        indent,
        width: screen.width,
      }),
      ...(remedy === undefined
        ? []
        : columns([[' ', style.accent('→'), remedyText(remedy)]], { indent, width: screen.width })),
    ]);
}

// A statement to run keeps its lines; it is copied from here.
function remedyText(remedy: string): string {
  return remedy.split('\n').map(cleanLine).join('\n');
}

export function summarizeFindings({ style }: Screen, findings: readonly Finding[]): string {
  const errors = findings.filter(({ level }) => level === 'error').length;
  const warnings = findings.filter(({ level }) => level === 'warning').length;
  if (errors > 0) return style.bad(`${errors === 1 ? '1 error' : `${errors} errors`}: a run would not start`);
  if (warnings > 0)
    return style.warn(`${warnings === 1 ? '1 warning' : `${warnings} warnings`}, nothing that stops a run`);
  return style.good('nothing in the way');
}
