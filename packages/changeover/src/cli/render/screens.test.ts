import { describe, expect, it } from 'vitest';
import { CATALOGUE, ChangeoverError, type DecisionBrief, type PlanReport, type Status } from '../../changeover.ts';
import { renderBrief } from './brief.ts';
import { failureOf, renderFailure, renderLeft } from './error.ts';
import { renderReport, renderSnapshots } from './report.ts';
import { renderGateway, renderStatus } from './status.ts';
import { createStyle, type Screen } from './text.ts';
import { renderFindings, summarizeFindings, summarizeVerdicts } from './verdicts.ts';

const screen: Screen = { style: createStyle(false), width: 90 };

const status: Status = {
  plan: 'doorbell',
  slice: null,
  slices: [],
  planHash: 'a'.repeat(64),
  run: { id: 'r1', status: 'live', startedAtMs: 60_000, progress: 0.92, remainingMs: 3_000 },
  stages: [
    { stage: 'prepare', status: 'completed' },
    { stage: 'validate', status: 'running' },
    { stage: 'cleanup', status: 'pending' },
  ],
  authority: {
    side: 'next',
    state: 'LIVE_NEW',
    epoch: 7,
    version: 12,
    leaseUntilMs: null,
    leaseBoot: null,
    operatorHold: false,
    reason: null,
  },
  hold: 'none',
  writable: ['next'],
  owner: { pid: 123, command: 'changeover run', sinceMs: 296_000 },
  keeper: { pid: 99, aliveMsAgo: 200 },
  gateway: {
    workers: [
      { pid: 41, authorityVersion: 12, aliveMsAgo: 10 },
      { pid: 42, authorityVersion: 12, aliveMsAgo: 12 },
    ],
    inFlight: { legacy: 0, next: 12 },
    held: 0,
    accepted: 1_204,
    completed: 1_190,
    clientAborted: 2,
    refused: 0,
    failed: 0,
    streams: 1,
    streamsClosed: 3,
    maxHoldMs: 41,
  },
  units: [
    { name: 'old', side: 'legacy', status: { state: 'stopped', pid: null, startTime: null } },
    { name: 'new', side: 'next', status: { state: 'running', pid: 4711, startTime: '1' } },
  ],
  pendingChanges: 0,
  lags: [{ store: 'postgres db/app', side: 'next', bytes: 5_242_880, seconds: 3, warning: null }],
  heldBack: null,
  notReturnable: [{ table: 'events', rows: 3, reason: 'the log has no field for a score' }],
  errors: [],
  warnings: ['the disk of the journal is nearly full'],
  nextCommand: 'changeover finish',
};

describe('status', () => {
  it('answers who serves, who may write, what is held, how far it is, and what to run next', () => {
    expect(renderStatus(screen, status, 300_000)).toBe(`doorbell  run r1 · live · started 4 min ago

  Serves     next
  May write  next
  Held       nothing
  State      LIVE_NEW  epoch 7
  Progress   ██████████████████▍─  92 %
  Changes    0 left to apply
  Log        5.2 MB, 3 s behind  postgres db/app
  Owner      pid 123, \`changeover run\`, since 4 s
  Keeper     pid 99, seen 200 ms ago
  Gateway    2 workers, 12 in flight, 0 held, 1 stream, 1,204 accepted

  ✔ prepare  ◐ validate  · cleanup

Units
  legacy  old  stopped
  next    new  running  pid 4711

To know
  !  the disk of the journal is nearly full
  !  a rollback cannot return 3 rows of events: the log has no field for a score

→ changeover finish`);
  });

  it('says plainly when neither or both sides may write, and what is held by hand', () => {
    const lines = (change: Partial<Status>) =>
      renderStatus({ ...screen, width: 120 }, { ...status, ...change }, 300_000);
    expect(lines({ writable: [] })).toContain('May write  neither side');
    expect(lines({ writable: ['legacy', 'next'] })).toContain('May write  both sides: legacy and next');
    const operatorHold = { ...status.authority, operatorHold: true };
    expect(lines({ hold: 'all', authority: operatorHold })).toContain(
      'all requests, 0 requests parked, by the operator: `changeover traffic release`',
    );
    expect(lines({ hold: 'writes', gateway: null })).toContain('Held       writes\n');
    expect(lines({ errors: ['both failed'] })).toContain('✖  both failed');
  });

  it('says what holds the work back', () => {
    const held = renderStatus(screen, { ...status, heldBack: 'the rate of at most 20 MB/s' }, 0).split('\n');
    expect(held).toContain('  Held back  by the rate of at most 20 MB/s');
    expect(renderStatus(screen, status, 0)).not.toContain('Held back');
  });

  it('is short before the first run', () => {
    const fresh = {
      ...status,
      run: null,
      stages: [],
      owner: null,
      keeper: null,
      gateway: null,
      units: [],
      pendingChanges: null,
      lags: [],
    };
    expect(renderStatus(screen, { ...fresh, notReturnable: [], warnings: [], nextCommand: 'changeover run' }, 0))
      .toBe(`doorbell  no run yet

  Serves     next
  May write  next
  Held       nothing
  State      LIVE_NEW  epoch 7
  Owner      nobody is working on it
  Keeper     none
  Gateway    not running

→ changeover run`);
  });
});

it('the figures of the gateway are shown with what ended how', () => {
  const { gateway } = status;
  if (gateway === null) throw new Error('no gateway');
  expect(renderGateway(screen, { ...gateway, failed: 2 })).toBe(`  In flight  0 to legacy, 12 to next
  Held       0 now, longest so far 41 ms
  Requests   1,204 accepted
             1,190 completed
             2 given up by their clients
             0 refused
             2 failed
  Streams    1 open, 3 closed at switches

Workers
  pid 41  authority version 12  seen 10 ms ago
  pid 42  authority version 12  seen 12 ms ago`);
});

describe('the brief before a decision', () => {
  const brief: DecisionBrief = {
    decision: 'cutover',
    serves: 'legacy at http://127.0.0.1:5001, afterwards next at http://127.0.0.1:5002',
    writes: 'legacy, afterwards next',
    changes: ['the gateway sends requests to next', 'events.log is fenced by stopping the legacy'],
    undoneBy: '`changeover rollback`, until `changeover finish`',
    lost: 'nothing',
    duration: 'about 40 ms, at most 5 s',
    evidence: [{ check: 'events: rows equal', outcome: 'PASS', evidence: '40,000 rows', measured: 40_000 }],
  };

  it('answers the same questions every time', () => {
    expect(renderBrief(screen, brief)).toBe(`Before the cutover
  Serves     legacy at http://127.0.0.1:5001, afterwards next at http://127.0.0.1:5002
  May write  legacy, afterwards next
  Changes    the gateway sends requests to next
             events.log is fenced by stopping the legacy
  Undone by  \`changeover rollback\`, until \`changeover finish\`
  Lost       nothing
  Takes      about 40 ms, at most 5 s
  Evidence   PASS  events: rows equal  40,000 rows`);
  });

  it('says when there is no evidence', () => {
    const shown = renderBrief(screen, { ...brief, decision: 'rollback', changes: [], evidence: [] });
    expect(shown).toContain('Before the rollback');
    expect(shown).toContain('Changes    nothing');
    expect(shown).toContain('Evidence   none: nothing has been verified yet');
  });
});

describe('a failure', () => {
  it('is one block: what failed, what led to it, the state that is left, its code, and the remedy', () => {
    const cause = new AggregateError([new Error('undo failed too')], 'two failures', {
      cause: new Error('ECONNREFUSED'),
    });
    const error = new ChangeoverError(
      'CHG_PLAN_INVALID',
      { count: '2 problems', problems: '  a: b\n  c: d' },
      { cause },
    );
    expect(renderFailure(screen, failureOf(error), renderLeft(status)))
      .toBe(`✖ The plan has 2 problems; nothing was changed:
    a: b
    c: d
  because two failures
  because undo failed too
  because ECONNREFUSED
  next serves, next may write, nothing is held; the run is live
  CHG_PLAN_INVALID
→ Correct the plan as the arrows say, then run \`changeover check\`.`);
  });

  it('that nobody expected is told as such, as the catalogue has it', () => {
    const failure = failureOf(new TypeError('x is not a function'));
    expect(failure).toEqual({
      code: 'CHG_CLI_UNEXPECTED',
      message: 'unexpected: TypeError: x is not a function',
      hint: CATALOGUE.CHG_CLI_UNEXPECTED.hint,
      exitCode: CATALOGUE.CHG_CLI_UNEXPECTED.exit,
      causes: [],
    });
    expect(failureOf('just a text').message).toBe('unexpected: just a text');
    expect(failureOf(undefined).message).toBe('unexpected: undefined');
  });

  it('from another copy of this package is known by its form', () => {
    const foreign = Object.assign(new Error('x'), {
      name: 'ChangeoverError',
      code: 'CHG_X',
      hint: 'do y',
      exitCode: 3,
    });
    expect(failureOf(foreign)).toMatchObject({ code: 'CHG_X', exitCode: 3, hint: 'do y' });
  });

  it('never shows a password, nor an endless chain of causes', () => {
    const loop = new Error('postgres://app:hunter2@db failed');
    loop.cause = loop;
    const shown = renderFailure(screen, failureOf(loop), null);
    expect(shown).not.toContain('hunter2');
    expect(shown.split('\n').length).toBeLessThan(15);
  });
});

describe('the report of a plan', () => {
  const report: PlanReport = {
    name: 'doorbell',
    hash: '0123456789abcdef',
    findings: [
      { level: 'info', about: 'gateway', message: 'listens on 127.0.0.1:5000' },
      { level: 'error', about: '.env:TOKEN', message: 'has no target', remedy: 'map it, or drop it' },
    ],
    footprint: [
      {
        where: 'data/pipeline.db',
        adds: 'CREATE TABLE changeover_gate',
        right: 'write the file',
        removal: 'DROP TABLE changeover_gate',
      },
      { where: 'data/pipeline.db', adds: 'CREATE TRIGGER x', right: 'write the file', removal: 'DROP TRIGGER x' },
    ],
    settings: {
      legacy: [
        { source: '.env', key: 'DEBOUNCE_TIME', fate: 'moved', detail: 'frameCapture.debounceTime', shown: '2.0' },
        { source: '.env', key: 'TOKEN', fate: 'conflict', detail: 'no target', shown: '••••' },
      ],
      next: [
        { path: 'frameCapture.debounceTime', from: '.env:DEBOUNCE_TIME', shown: '2' },
        { path: 'frameCapture.fps', from: 'default', shown: '10' },
      ],
    },
    tables: [
      { name: 'events', rows: 40_000, unit: 'rows', bytes: 5_200_000, givenUp: [] },
      { name: 'faces', rows: 12, unit: 'files', bytes: null, givenUp: ['the score'] },
    ],
    pauses: [{ what: 'the switch', expectedMs: 41, deadlineMs: 5_000, whenMissed: 'the legacy serves on' }],
    notReturned: ['the score of a face'],
    schema: [],
  };

  it('shows what a run would do, the worst first', () => {
    expect(renderReport(screen, report, false)).toBe(`doorbell  plan 0123456789ab

Found
  ✖  .env:TOKEN  has no target
     →  map it, or drop it
  ·  gateway  listens on 127.0.0.1:5000
  1 error: a run would not start

Settings
  ✖  .env:TOKEN          ••••  conflict: no target
  →  .env:DEBOUNCE_TIME  2.0   frameCapture.debounceTime
  +  frameCapture.fps    10    default

Data
  events  40,000 rows  5.2 MB
  faces      12 files          not returned by a rollback: the score

Added to the systems, and removed again
  data/pipeline.db  2 things

Pauses
  the switch
    takes    about 41 ms
    at most  5 s, then: the legacy serves on

Not returned by a rollback
  ! the score of a face`);
  });

  it('tells what becomes of the schema where it is not exact, and all of it in full', () => {
    const rule = { from: 'REAL', to: 'double precision', reason: 'doubles', isNamed: false, remedy: null } as const;
    const schema = [
      { ...rule, name: 'events.score', verdict: 'exact' },
      { ...rule, name: 'events.at', from: 'DATETIME', to: 'text', verdict: 'ambiguous', reason: 'no times' },
      {
        ...rule,
        name: 'by_lower',
        from: '(lower(kind))',
        to: null,
        verdict: 'lossy',
        reason: 'left out',
        isNamed: true,
      },
    ] as const;
    const block = (full: boolean) => {
      const lines = renderReport(screen, { ...report, schema }, full).split('\n');
      const from = lines.findIndex((line) => line.startsWith('New tables'));
      return lines.slice(from, lines.indexOf('', from));
    };
    expect(block(false)).toEqual([
      'New tables, made from the schema of the legacy',
      '  ✖  events.at  DATETIME → text           ambiguous: no times',
      '  ~  by_lower   (lower(kind)) → not made  lossy: left out',
      '  1 rule exact (--full shows all)',
    ]);
    expect(block(true)[1]).toBe('  =  events.score  REAL → double precision   exact: doubles');
    expect(block(true)).toHaveLength(4);
  });

  it('tells once below which folder the settings of the legacy are', () => {
    const row = (source: string, detail: string) =>
      ({ source, key: 'PIN', fate: 'dropped', detail, shown: '18' }) as const;
    const legacy = [
      row('/srv/old/config/settings.py:9', 'overridden by /srv/old/.env:4'),
      row('/srv/old/.env:4', 'unused'),
    ];
    const shown = renderReport(screen, { ...report, settings: { legacy, next: [] } }, true);
    expect(shown).toContain(`Settings, from files below /srv/old/
  -  config/settings.py:9:PIN  18  dropped: overridden by .env:4
  -  .env:4:PIN                18  dropped: unused`);
  });

  it('shows where each column comes from that the plan names, and its way back', () => {
    const columns = [
      { column: 'events.id', from: 'visits.id', back: 'visits.id' },
      { column: 'events.source', from: 'constant "doorbell"', back: 'nothing to return' },
    ];
    const shown = renderReport(
      screen,
      { ...report, tables: report.tables.map((table) => ({ ...table, columns })).slice(0, 1) },
      true,
    );
    expect(shown).toContain(`Columns, and their way back
  events.id      ← visits.id            back: visits.id
  events.source  ← constant "doorbell"  back: nothing to return`);
  });

  it('with --full shows each statement and every row', () => {
    const many = {
      ...report,
      tables: Array.from({ length: 40 }, (_, index) => ({
        name: `t${index}`,
        rows: 1,
        unit: 'rows' as const,
        bytes: null,
        givenUp: [],
      })),
    };
    expect(renderReport(screen, many, false)).toContain('and 28 more (--full shows all)');
    const full = renderReport(screen, many, true);
    expect(full).toContain('t39');
    expect(full).toContain('adds        CREATE TRIGGER x');
    expect(full).toContain('removed by  DROP TRIGGER x');
  });

  it('of an empty plan has no empty sections', () => {
    const empty = { ...report, findings: [], footprint: [], settings: null, tables: [], pauses: [], notReturned: [] };
    expect(renderReport(screen, empty, true)).toBe('doorbell  plan 0123456789ab\n\nFound\n  nothing in the way');
  });
});

it('snapshots are listed with the newest first', () => {
  const at = (day: number) => new Date(2026, 10, day, 10, 15).getTime();
  expect(
    renderSnapshots(screen, [
      { id: 'a', takenAtMs: at(20), files: 1, bytes: 10, storedBytes: 10 },
      { id: 'b', takenAtMs: at(21), files: 312, bytes: 48_200_000, storedBytes: 12_000_000 },
    ]),
  ).toBe(`  b  2026-11-21 10:15:00  312 files  48.2 MB  12.0 MB on disk
  a  2026-11-20 10:15:00     1 file     10 B  10 B on disk`);
  expect(renderSnapshots(screen, [])).toMatch(/no snapshots/);
});

it('findings and verdicts are summed up in words', () => {
  expect(summarizeFindings(screen, [])).toBe('nothing in the way');
  expect(summarizeFindings(screen, [{ level: 'warning', about: 'a', message: 'b' }])).toBe(
    '1 warning, nothing that stops a run',
  );
  expect(summarizeVerdicts(screen, [])).toBe('nothing was checked');
  const verdict = { check: 'c', evidence: 'e', measured: 1 };
  expect(
    summarizeVerdicts(screen, [
      { ...verdict, outcome: 'PASS' },
      { ...verdict, outcome: 'FAIL' },
      { ...verdict, outcome: 'INCONCLUSIVE' },
    ]),
  ).toBe('1 failed, 1 inconclusive, 1 passed');
  expect(
    renderFindings(screen, [{ level: 'warning', about: 'a', message: 'b', remedy: 'GRANT x;\nGRANT y;' }]),
  ).toEqual(['  !  a  b', '     →  GRANT x;', '        GRANT y;']);
});
