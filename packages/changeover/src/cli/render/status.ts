import type { GatewayStats, Status } from '../../changeover.ts';
import { renderBar, STAGE_MARKS } from './progress.ts';
import { block, cleanLine, columns, type Screen } from './text.ts';
import { plural, showBytes, showCount, showDuration, showPercent } from './units.ts';

/** Who serves, who may write, what is held, how far the run is, what is wrong, and the next command. */
export function renderStatus(screen: Screen, status: Status, nowMs: number): string {
  const { style, width } = screen;
  const rows: (readonly [string, string])[] = [
    ['Serves', style.bold(status.authority.side)],
    ['May write', writers(screen, status)],
    ['Held', heldText(screen, status)],
    ['State', `${status.authority.state}  ${style.dim(`epoch ${status.authority.epoch}`)}`],
    ...(status.run === null || isOver(status.run) ? [] : [['Progress', progressText(screen, status.run)] as const]),
    ...(status.pendingChanges === null
      ? []
      : [['Changes', `${showCount(status.pendingChanges)} left to apply`] as const]),
    ...status.lags.map((lag) => ['Log', lagText(lag)] as const),
    ...(status.heldBack === null ? [] : [['Held back', style.warn(`by ${cleanLine(status.heldBack)}`)] as const]),
    ['Owner', ownerText(status, nowMs)],
    [
      'Keeper',
      status.keeper === null ? 'none' : `pid ${status.keeper.pid}, seen ${showDuration(status.keeper.aliveMsAgo)} ago`,
    ],
    ['Gateway', status.gateway === null ? 'not running' : gatewayText(status.gateway)],
  ];
  const units = status.units.map((unit) => [
    style.dim(unit.side),
    cleanLine(unit.name),
    `${unit.status.state}${unit.status.pid === null ? '' : style.dim(`  pid ${unit.status.pid}`)}`,
  ]);
  const slices = status.slices.map(({ name, status: word, state, side, progress }) => [
    cleanLine(name),
    word.replace('_', ' '),
    `${style.dim('served by')} ${side}`,
    word === 'running' ? showPercent(progress) : style.dim(state),
  ]);
  const alarms = [
    ...status.errors.map((error) => [style.bad('✖'), cleanLine(error)]),
    ...status.warnings.map((warning) => [style.warn('!'), cleanLine(warning)]),
    ...status.notReturnable.map(({ table, rows: count, reason }) => [
      style.warn('!'),
      `a rollback cannot return ${plural(count, 'row')} of ${cleanLine(table)}: ${cleanLine(reason)}`,
    ]),
  ];
  return [
    `${style.bold(cleanLine(status.plan))}${status.slice === null ? '' : `  ${style.bold(cleanLine(`slice ${status.slice}`))}`}  ${style.dim(headline(status, nowMs))}`,
    '',
    ...columns(
      rows.map(([label, value]) => [style.dim(label), value]),
      { indent: 2, width },
    ),
    '',
    ...(status.stages.length === 0 ? [] : [`  ${stagesLine(screen, status.stages)}`, '']),
    ...block(screen, 'Units', columns(units, { indent: 2, width })),
    ...block(screen, 'Slices', columns(slices, { indent: 2, width })),
    ...block(screen, 'To know', columns(alarms, { indent: 2, width })),
    `${style.accent('→')} ${cleanLine(status.nextCommand)}`,
  ].join('\n');
}

function headline(status: Status, nowMs: number): string {
  if (status.run === null) return 'no run yet';
  const { id, status: word, startedAtMs } = status.run;
  return `run ${cleanLine(id)} · ${word.replace('_', ' ')} · started ${showDuration(nowMs - startedAtMs)} ago`;
}

function writers({ style }: Screen, { writable }: Status): string {
  if (writable.length === 1) return style.bold(writable.join());
  return writable.length === 0 ? style.warn('neither side') : style.bad(`both sides: ${writable.join(' and ')}`);
}

function heldText({ style }: Screen, { hold, authority, gateway }: Status): string {
  if (hold === 'none') return 'nothing';
  const parked = gateway === null ? '' : `, ${plural(gateway.held, 'request')} parked`;
  const byHand = authority.operatorHold ? ', by the operator: `changeover traffic release` ends it' : '';
  return style.warn(`${hold === 'all' ? 'all requests' : 'writes'}${parked}${byHand}`);
}

function isOver(run: NonNullable<Status['run']>): boolean {
  return ['failed', 'rolled_back', 'finished'].includes(run.status);
}

function progressText(screen: Screen, run: NonNullable<Status['run']>): string {
  const left = run.remainingMs === null || run.status !== 'running' ? '' : `  ${showDuration(run.remainingMs)} left`;
  return `${renderBar(screen, run.progress, 20)}  ${showPercent(run.progress)}${left}`;
}

function ownerText({ owner }: Status, nowMs: number): string {
  return owner === null
    ? 'nobody is working on it'
    : `pid ${owner.pid}, \`${cleanLine(owner.command)}\`, since ${showDuration(nowMs - owner.sinceMs)}`;
}

function lagText({ store, bytes, seconds }: Status['lags'][number]): string {
  const age = seconds === null || seconds === 0 ? '' : `, ${showDuration(seconds * 1000)}`;
  return `${showBytes(bytes)}${age} behind  ${cleanLine(store)}`;
}

function stagesLine(screen: Screen, stages: Status['stages']): string {
  const marks = STAGE_MARKS(screen.style);
  return stages.map(({ stage, status }) => `${marks[status]} ${stage}`).join('  ');
}

/** One line of a gateway's figures, as `status` shows it. */
function gatewayText(stats: GatewayStats): string {
  const { inFlight, held, streams, failed, refused } = stats;
  return [
    plural(stats.workers.length, 'worker'),
    `${showCount(inFlight.legacy + inFlight.next)} in flight`,
    `${showCount(held)} held`,
    plural(streams, 'stream'),
    `${showCount(stats.accepted)} accepted`,
    ...(failed + refused > 0 ? [`${showCount(failed)} failed`, `${showCount(refused)} refused`] : []),
  ].join(', ');
}

/** All figures of the gateway, as `traffic show` prints them. */
export function renderGateway(screen: Screen, stats: GatewayStats): string {
  const { style, width } = screen;
  const count = (value: number, isBad = false) => (isBad && value > 0 ? style.bad(showCount(value)) : showCount(value));
  const figures = [
    ['In flight', `${count(stats.inFlight.legacy)} to legacy, ${count(stats.inFlight.next)} to next`],
    ['Held', `${count(stats.held)} now, longest so far ${showDuration(stats.maxHoldMs)}`],
    ['Requests', `${count(stats.accepted)} accepted`],
    ['', `${count(stats.completed)} completed`],
    ['', `${count(stats.clientAborted)} given up by their clients`],
    ['', `${count(stats.refused, true)} refused`],
    ['', `${count(stats.failed, true)} failed`],
    ['Streams', `${count(stats.streams)} open, ${count(stats.streamsClosed)} closed at switches`],
  ].map(([label = '', value = '']) => [style.dim(label), value]);
  const workers = stats.workers.map(({ pid, authorityVersion, aliveMsAgo }) => [
    `pid ${pid}`,
    `authority version ${authorityVersion}`,
    `seen ${showDuration(aliveMsAgo)} ago`,
  ]);
  return [
    ...columns(figures, { indent: 2, width }),
    '',
    ...block(screen, 'Workers', columns(workers, { indent: 2, width })),
  ]
    .join('\n')
    .trimEnd();
}
