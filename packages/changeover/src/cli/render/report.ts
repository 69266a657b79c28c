import type { PlanReport, SnapshotSummary } from '../../changeover.ts';
import { block, cleanLine, columns, type Screen } from './text.ts';
import { plural, showBytes, showCount, showDuration, showTime } from './units.ts';
import { renderFindings, summarizeFindings } from './verdicts.ts';

const ROWS_SHOWN = 12;

/** What a run would do; `full` lists what is otherwise cut. */
export function renderReport(screen: Screen, report: PlanReport, full: boolean): string {
  const { style, width } = screen;
  const cut = (lines: readonly string[]) => cutLines(screen, lines, full);
  const tables = report.tables.map(({ name, rows, unit, bytes, givenUp }) => [
    cleanLine(name),
    `${showCount(rows)} ${unit}`,
    bytes === null ? '' : showBytes(bytes),
    givenUp.length === 0 ? '' : style.warn(`not returned by a rollback: ${givenUp.map(cleanLine).join('; ')}`),
  ]);
  const mapped = report.tables
    .flatMap((table) => table.columns ?? [])
    .map(({ column, from, back }) => [
      cleanLine(column),
      `← ${cleanLine(from)}`,
      style.dim(`back: ${cleanLine(back)}`),
    ]);
  const pauses = report.pauses.flatMap(({ what, expectedMs, deadlineMs, whenMissed }) => [
    ...columns([[cleanLine(what)]], { indent: 2, width }),
    ...columns(
      [
        [style.dim('takes'), expectedMs === null ? 'not measured yet' : `about ${showDuration(expectedMs)}`],
        [style.dim('at most'), `${showDuration(deadlineMs)}, then: ${cleanLine(whenMissed)}`],
      ],
      { indent: 4, width },
    ),
  ]);
  return [
    `${style.bold(cleanLine(report.name))}  ${style.dim(`plan ${report.hash.slice(0, 12)}`)}`,
    '',
    ...block(screen, 'Found', [
      ...renderFindings(screen, report.findings),
      `  ${summarizeFindings(screen, report.findings)}`,
    ]),
    ...settings(screen, report.settings, cut),
    ...block(screen, 'Data', cut(columns(tables, { indent: 2, width, right: [1, 2] }))),
    ...block(screen, 'Columns, and their way back', cut(columns(mapped, { indent: 2, width }))),
    ...block(screen, 'New tables, made from the schema of the legacy', schemaRules(screen, report, full)),
    ...block(screen, 'Added to the systems, and removed again', footprint(screen, report, full)),
    ...block(screen, 'Pauses', pauses),
    ...block(
      screen,
      'Not returned by a rollback',
      report.notReturned.map((line) => `  ${style.warn('!')} ${cleanLine(line)}`),
    ),
  ]
    .join('\n')
    .trimEnd();
}

function settings(
  screen: Screen,
  report: PlanReport['settings'],
  cut: (lines: readonly string[]) => readonly string[],
): string[] {
  if (report === null) return [];
  const { style, width } = screen;
  const marks = { moved: style.good('→'), kept: style.dim('='), dropped: style.warn('-'), conflict: style.bad('✖') };
  const order = ['conflict', 'dropped', 'moved', 'kept'];
  const shared = sharedFolder(report.legacy.map(({ source }) => source));
  const short = (text: string) => cleanLine(text.replaceAll(shared, ''));
  const rows = report.legacy
    .toSorted((a, b) => order.indexOf(a.fate) - order.indexOf(b.fate))
    .map(({ source, key, fate, detail, shown }) => [
      marks[fate],
      `${style.dim(`${short(source)}:`)}${cleanLine(key)}`,
      cleanLine(shown),
      fate === 'moved' ? short(detail) : style.dim(`${fate}: ${short(detail)}`),
    ]);
  const added = report.next
    .filter(({ from }) => !report.legacy.some(({ key }) => from.includes(key)))
    .map(({ path, from, shown }) => [style.accent('+'), cleanLine(path), cleanLine(shown), style.dim(short(from))]);
  const title = shared === '' ? 'Settings' : `Settings, from files below ${cleanLine(shared)}`;
  return block(screen, title, cut(columns([...rows, ...added], { indent: 2, width })));
}

/** The folder, with its slash, in which all files of several are; empty where there is none. */
function sharedFolder(files: readonly string[]): string {
  const [first = '', ...others] = new Set(files.map((file) => file.replace(/:\d+$/, '')));
  if (others.length === 0) return '';
  const parts = first.split('/').slice(0, -1);
  const isShared = (count: number) => others.every((file) => file.startsWith(`${parts.slice(0, count).join('/')}/`));
  let count = parts.length;
  while (count > 1 && !isShared(count)) count -= 1;
  return count > 1 ? `${parts.slice(0, count).join('/')}/` : '';
}

/** Whatever is not exact, and how much is; `full` shows all. */
function schemaRules({ style, width }: Screen, { schema }: PlanReport, full: boolean): string[] {
  if (schema.length === 0) return [];
  const marks = { exact: style.good('='), lossy: style.warn('~'), ambiguous: style.warn('?') };
  const told = schema.filter(({ verdict }) => full || verdict !== 'exact');
  const rows = told.map(({ name, from, to, verdict, reason, isNamed }) => [
    verdict === 'exact' || isNamed ? marks[verdict] : style.bad('✖'),
    cleanLine(name),
    cleanLine(`${from} → ${to ?? 'not made'}`),
    style.dim(cleanLine(`${verdict}: ${reason}`)),
  ]);
  const exact = schema.length - told.length;
  const rest = exact === 0 ? [] : [`  ${style.dim(`${plural(exact, 'rule')} exact (--full shows all)`)}`];
  return [...columns(rows, { indent: 2, width }), ...rest];
}

function footprint({ style, width }: Screen, report: PlanReport, full: boolean): string[] {
  if (!full) {
    const places = new Map<string, number>();
    for (const { where } of report.footprint) places.set(where, (places.get(where) ?? 0) + 1);
    return columns(
      [...places].map(([where, count]) => [cleanLine(where), plural(count, 'thing')]),
      { indent: 2, width },
    );
  }
  return report.footprint.flatMap(({ where, adds, right, removal }) => [
    `  ${style.bold(cleanLine(where))}`,
    ...columns(
      [
        [style.dim('adds'), cleanLine(adds)],
        [style.dim('needs'), cleanLine(right)],
        [style.dim('removed by'), cleanLine(removal)],
      ],
      { indent: 4, width },
    ),
  ]);
}

function cutLines({ style }: Screen, lines: readonly string[], full: boolean): readonly string[] {
  return full || lines.length <= ROWS_SHOWN
    ? lines
    : [...lines.slice(0, ROWS_SHOWN), `  ${style.dim(`and ${lines.length - ROWS_SHOWN} more (--full shows all)`)}`];
}

/** The snapshots that can be restored, the newest first. */
export function renderSnapshots({ style, width }: Screen, snapshots: readonly SnapshotSummary[]): string {
  if (snapshots.length === 0) return 'There are no snapshots: `changeover run --until backup` takes one.';
  const rows = snapshots
    .toSorted((a, b) => b.takenAtMs - a.takenAtMs)
    .map(({ id, takenAtMs, files, bytes, storedBytes }) => [
      style.bold(cleanLine(id)),
      showTime(takenAtMs),
      plural(files, 'file'),
      showBytes(bytes),
      style.dim(`${showBytes(storedBytes)} on disk`),
    ]);
  return columns(rows, { indent: 2, width, right: [2, 3] }).join('\n');
}
