import { readFileSync, writeFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ChangeoverError } from '../errors.ts';
import { defineChangeover, isPlan, parsePlan, planProblems } from './define.ts';
import { formatDuration, parseDuration } from './duration.ts';
import type { Check, Unit } from './ports.ts';
import { nearest } from './problems.ts';
import { planJsonSchema } from './schema.ts';
import { canonicalJson, hashOf, planHash, planSpec, specOf } from './spec.ts';
import type { FilesDefinition } from './sync.ts';
import type { Json } from './words.ts';

const nothing = () => Promise.resolve();

function unit(name: string, url: string | null = null): Unit {
  return {
    name,
    url,
    spec: { command: name, url },
    status: () => Promise.resolve({ state: 'stopped', pid: null, startTime: null }),
    start: nothing,
    stop: nothing,
    pause: nothing,
    resume: nothing,
    activate: nothing,
    passivate: nothing,
    quiesce: nothing,
    rehearse: () => Promise.reject(new Error('not started here')),
  };
}

function pictures(name: string, from = 'data/pictures', to = 'var/pictures'): FilesDefinition {
  return { kind: 'files', name, from, to, only: null, spec: { from, to } };
}

const check = (name: string): Check => ({ name, spec: { name }, run: () => Promise.resolve([]) });

const author = () => ({
  name: 'doorbell',
  legacy: { units: [unit('old', 'http://127.0.0.1:5001')] },
  next: { units: [unit('new', 'http://127.0.0.1:5002')] },
  gateway: { listen: '127.0.0.1:5000' },
});

const paths = (input: unknown) => planProblems(input).map(({ path }) => path);

describe('a plan', () => {
  it('gets every default, in milliseconds', () => {
    const plan = defineChangeover({
      ...author(),
      backup: { paths: ['data'] },
      next: { units: [unit('new', 'http://127.0.0.1:5002')], setup: ['node migrate.js', { run: 'make', cwd: 'next' }] },
      cutover: { hold: { deadline: '3s' }, drain: { deadline: 1500 } },
    });
    expect(plan.gateway).toEqual({
      listen: { host: '127.0.0.1', port: 5000 },
      workers: 2,
      maxHeldRequests: 10_000,
      maxHeldBytes: 67_108_864,
      maxHeldMs: 60_000,
    });
    expect(plan.cutover).toEqual({
      holdDeadlineMs: 3_000,
      rollbackHoldDeadlineMs: 30_000,
      drainDeadlineMs: 1_500,
      quiesceDeadlineMs: 5_000,
      rollbackOnFailedChecks: false,
    });
    expect(plan.next.setup).toEqual([{ run: 'node migrate.js' }, { run: 'make', cwd: 'next' }]);
    expect(plan.backup).toEqual({ paths: ['data'], sqlite: [], compress: 'none' });
    expect(plan).toMatchObject({ config: null, data: [], checks: [], legacy: { writers: [] } });
  });

  it('listens on a port alone, an IPv6 address, or a host with its port', () => {
    const listen = (value: string | number | { host: string; port: number }) =>
      parsePlan({ ...author(), gateway: { listen: value } }).gateway.listen;
    expect(listen(8080)).toEqual({ host: '127.0.0.1', port: 8080 });
    expect(listen('[::1]:8080')).toEqual({ host: '::1', port: 8080 });
    expect(listen('0.0.0.0:80')).toEqual({ host: '0.0.0.0', port: 80 });
    expect(listen({ host: 'localhost', port: 8080 })).toEqual({ host: 'localhost', port: 8080 });
  });

  it('is known as a plan, is frozen, and is not confused with what it was made from', () => {
    const plan = defineChangeover(author());
    expect(isPlan(plan)).toBe(true);
    expect(isPlan(author())).toBe(false);
    expect(Object.isFrozen(plan)).toBe(true);
    expect(Object.keys(plan)).not.toContain('changeover.plan');
  });
});

describe('a wrong plan', () => {
  it('is refused with every problem at once, each with path, expectation, what was received and a remedy', () => {
    const wrong = {
      nmae: 'doorbell',
      legacy: { units: [], writers: [42] },
      next: { units: [unit('new', 'http://127.0.0.1:5002')], setup: [{ run: 'make', env: { TOKEN: 7 }, cvd: '.' }] },
      gateway: { listen: '127.0.0.1', workers: 2.5, maxHeld: '5 seconds' },
      backup: { paths: 'data', compress: 'zip' },
      data: [],
      cutover: { hold: { deadlin: '5s' } },
    };
    expect(planProblems(wrong).map((it) => `${it.path} | ${it.expected} | ${it.received} | ${it.remedy}`)).toEqual([
      "name | a text | nothing | write name: 'doorbell'",
      'legacy.units | at least one unit | an empty list | change units',
      "legacy.writers[0] | a unit | 42 | write command('node server.js', { url: 'http://127.0.0.1:5001' })",
      'next.setup[0].env.TOKEN | a text | (hidden) | change TOKEN',
      'next.setup[0].cvd | one of run, cwd, env | "." | rename cvd to cwd',
      'gateway.listen | an address with a port from 1 to 65535 | "127.0.0.1" | write listen: \'127.0.0.1:5000\'',
      'gateway.workers | a whole number | 2.5 | write workers: 2',
      'gateway.maxHeld | a duration: milliseconds, or a text such as "5s", "250ms", "2m" | "5 seconds" | write maxHeld: \'5s\'',
      "backup.paths | a list of paths | \"data\" | write paths: ['config','data']",
      'backup.compress | "none", "gzip" or "zstd" | "zip" | change compress',
      'data | something to move; leave `data` out where there is nothing | an empty list | change data',
      'cutover.hold.deadlin | one of deadline, rollbackDeadline | "5s" | rename deadlin to deadline',
      'nmae | one of name, legacy, next, gateway, backup, config, data, throttle, cutover, checks | "doorbell" | rename nmae to name',
    ]);
  });

  it('throws one CHG_PLAN_INVALID that leads to exit code 2', () => {
    let thrown: unknown;
    try {
      parsePlan({ ...author(), gateway: { listen: 0 }, name: '' });
    } catch (error) {
      thrown = error;
    }
    expect(thrown).toBeInstanceOf(ChangeoverError);
    expect(thrown).toMatchObject({ code: 'CHG_PLAN_INVALID', exitCode: 2 });
    expect((thrown as Error).message).toBe(
      [
        'The plan has 2 problems; nothing was changed:',
        '  name: expected a short name: letters, digits, dots, dashes and underscores, at most 64, received ""',
        "    → write name: 'doorbell'",
        '  gateway.listen: expected an address with a port from 1 to 65535, received 0',
        "    → write listen: '127.0.0.1:5000'",
      ].join('\n'),
    );
  });

  it('is refused for whatever is not an object', () => {
    for (const input of [null, undefined, 7, 'plan', [], () => 1]) {
      expect(paths(input)).toContain('(plan)');
    }
    expect(planProblems(Promise.resolve(author()))[0]?.remedy).toMatch(/await/);
  });

  it('never shows a secret', () => {
    const shown = JSON.stringify(
      planProblems({
        ...author(),
        databasePassword: 'hunter2',
        gateway: { listen: 'postgres://app:hunter2@db/app' },
        next: { units: [{ TOKEN: 'hunter2' }], setup: [{ run: 'x', env: { COLOUR: ['hunter2'] } }] },
      }),
    );
    expect(shown).not.toContain('hunter2');
    expect(shown).toContain('postgres://app:•••@');
  });

  it('is refused when two parts have one name', () => {
    const wrong = {
      ...author(),
      legacy: { units: [unit('web', 'http://127.0.0.1:5001')], writers: [unit('web')] },
      data: [pictures('faces'), pictures('faces', 'a', 'b')],
      checks: [check('GET /'), check('GET /')],
    };
    expect(paths(wrong)).toEqual(['legacy.writers[0].name', 'data[1].name', 'checks[1].name']);
    expect(planProblems(wrong)[0]?.expected).toBe('a name of its own (legacy.units[0] has the same)');
  });

  it('is refused when the gateway or the other side has the port already', () => {
    const wrong = {
      ...author(),
      legacy: { units: [unit('old', 'http://localhost:5000')] },
      next: { units: [unit('new', 'http://127.0.0.1:5002'), unit('other', 'http://127.0.0.1:5000/base')] },
    };
    expect(paths(wrong)).toEqual(['legacy.units[0].url', 'next.units[1].url']);
    expect(planProblems(wrong)[0]?.expected).toBe('a port of its own (gateway.listen has 5000)');
    expect(paths({ ...author(), next: { units: [unit('new', 'http://127.0.0.1:5001')] } })).toEqual([
      'next.units[0].url',
    ]);
    expect(paths({ ...author(), next: { units: [unit('new', 'http://10.0.0.7:5001')] } })).toEqual([]);
  });

  it('is refused when nothing on a side can be reached', () => {
    expect(paths({ ...author(), legacy: { units: [unit('old')] } })).toEqual(['legacy.units']);
    expect(paths({ ...author(), legacy: { units: [unit('old', '127.0.0.1:5001')] } })).toEqual(['legacy.units[0].url']);
  });

  it('is refused when requests would be refused before the hold ends', () => {
    expect(paths({ ...author(), gateway: { listen: 5000, maxHeld: '4s' } })).toEqual([
      'gateway.maxHeld',
      'gateway.maxHeld',
    ]);
    expect(
      paths({
        ...author(),
        gateway: { listen: 5000, maxHeld: '4s' },
        cutover: { hold: { deadline: '4s', rollbackDeadline: '4s' } },
      }),
    ).toEqual([]);
  });

  it('is refused where it says wrongly what belongs to which slice', () => {
    const tables = { streams: {}, plays: {}, notes: {}, countries: {} };
    const moved = (slices: unknown) => ({ ...pictures('faces'), kind: 'sync', tables, chunkRows: 1, slices });
    const problems = (slices: unknown) =>
      planProblems({ ...author(), data: [moved(slices)] }).map(({ path, expected }) => `${path} | ${expected}`);
    const plays = { column: 'stream_id', parent: 'streams' };
    const good = { column: 'network_id', through: { plays, notes: { column: 'play_id', parent: 'plays' } } };
    expect(problems(null)).toEqual([]);
    expect(problems({ ...good, shared: ['countries'] })).toEqual([]);
    expect(problems('network_id')).toEqual(['data[0].slices | { column }']);
    expect(problems({ column: '', by: 'x' })).toEqual([
      'data[0].slices.by | column, through or shared',
      'data[0].slices.column | the column that says whose a row is',
    ]);
    expect(problems({ ...good, shared: ['cities'] })).toEqual([
      'data[0].slices.shared | a list of tables of this sync',
    ]);
    expect(problems({ column: 'n', through: { plays: null, notes: { column: 'a', parent: 'gone' } } })).toEqual([
      'data[0].slices.through.plays | a column and a parent, both of tables of a slice',
      'data[0].slices.through.notes | a column and a parent, both of tables of a slice',
    ]);
    const circle = { plays: { column: 'a', parent: 'notes' }, notes: { column: 'b', parent: 'plays' } };
    expect(problems({ column: 'n', through: circle })).toHaveLength(2);
  });

  it('is refused where it says wrongly how tables are made', () => {
    const making = (schema: unknown) => ({ ...pictures('faces'), kind: 'sync', tables: {}, chunkRows: 1, schema });
    const problems = (schema: unknown) =>
      planProblems({ ...author(), data: [making(schema)] }).map((it) => `${it.path} | ${it.expected} | ${it.received}`);
    expect(problems({})).toEqual([]);
    expect(problems(null)).toEqual([]);
    expect(
      problems({
        columns: { 'v.at': { type: 'timestamptz', from: 'sql-text', zone: 'Europe/Berlin' }, 'v.b': 'text' },
      }),
    ).toEqual([]);
    expect(problems('create')).toEqual(['data[0].schema | \'create\', or { columns, omit } | "create"']);
    expect(problems({ colums: {}, omit: 'x' })).toEqual([
      'data[0].schema.colums | columns or omit | "colums"',
      'data[0].schema.omit | a list of names | "x"',
    ]);
    const columns = {
      at: 'text',
      'v.a': { type: 'uuid', from: 'guid' },
      'v.b': { type: 'timestamptz', from: 'sql-text' },
      'v.c': { type: 'timestamptz', from: 'python-text', zone: 'Mars' },
      'v.d': { from: 'unix-seconds' },
      'v.e': { type: 'uuid', from: 'uuid-hex', dashes: true },
    };
    expect(problems({ columns }).map((problem) => problem.split(' | ').slice(0, 2).join(' | '))).toEqual([
      'data[0].schema.columns.at | table.column of the target',
      'data[0].schema.columns.v.a.from | one of unix-seconds, unix-milliseconds, sql-text, js-text, python-text, uuid-bytes, uuid-hex',
      'data[0].schema.columns.v.b.zone | the zone of the times, which sql-text does not name',
      'data[0].schema.columns.v.c.zone | an IANA time zone',
      'data[0].schema.columns.v.d | a type, or { type, from }',
      'data[0].schema.columns.v.e.dashes | type, from or zone',
    ]);
  });

  it('is refused when data moves onto itself', () => {
    expect(paths({ ...author(), data: [pictures('faces', 'a', 'a')] })).toEqual(['data[0].to']);
  });

  it('tells of section mistakes and of those between sections in one go', () => {
    expect(paths({ ...author(), backup: {}, legacy: { units: [unit('old', 'http://127.0.0.1:5000')] } })).toEqual([
      'backup.paths',
      'legacy.units[0].url',
    ]);
  });

  it('is refused, and never breaks the validation, whatever it holds', () => {
    fc.assert(
      fc.property(
        fc.anything({ withBigInt: true, withDate: true, withNullPrototype: true, withSparseArray: true }),
        (junk) => {
          expect(planProblems(junk).length).toBeGreaterThan(0);
          expect(
            planProblems({ ...author(), gateway: junk, name: junk, data: junk, checks: [junk] }).length,
          ).toBeGreaterThan(0);
        },
      ),
    );
  });

  it('is refused in a moment even with thousands of long unknown names', () => {
    const many = Object.fromEntries(Array.from({ length: 2_000 }, (_, index) => [`x${index}`.repeat(50), index]));
    expect(planProblems({ ...author(), ...many })).toHaveLength(2_000);
  });
});

describe('what identifies a plan', () => {
  it('is the same for the same plan and changes with anything that acts differently', () => {
    const hash = planHash(defineChangeover(author()));
    expect(hash).toMatch(/^[0-9a-f]{64}$/);
    expect(planHash(defineChangeover(author()))).toBe(hash);
    expect(planHash(defineChangeover({ ...author(), cutover: { hold: { deadline: '5s' } } }))).toBe(hash);
    expect(planHash(defineChangeover({ ...author(), cutover: { hold: { deadline: '6s' } } }))).not.toBe(hash);
    expect(planHash(defineChangeover({ ...author(), checks: [check('x')] }))).not.toBe(hash);
  });

  it('holds functions as their source, and secrets of setup commands as hashes', () => {
    const withEnv = (token: string) =>
      defineChangeover({
        ...author(),
        next: {
          units: [unit('new', 'http://127.0.0.1:5002')],
          setup: [{ run: 'x', env: { API_TOKEN: token, MODE: 'fast' } }],
        },
      });
    const shown = JSON.stringify(planSpec(withEnv('hunter2')));
    expect(shown).not.toContain('hunter2');
    expect(shown).toContain('"MODE":"fast"');
    expect(planHash(withEnv('hunter2'))).not.toBe(planHash(withEnv('hunter3')));
    expect(specOf({ expect: (status: number) => status === 200 })).toEqual({ expect: '(status) => status === 200' });
    expect(
      specOf({ big: 2n ** 60n, none: undefined, bytes: new Uint8Array([1]), odd: Number.NaN, when: new Date(0) }),
    ).toEqual({
      big: '1152921504606846976',
      bytes: 'AQ==',
      odd: 'NaN',
      when: '1970-01-01T00:00:00.000Z',
    });
  });

  it('does not depend on the order in which names were written', () => {
    const shuffled = (value: Json): Json =>
      value !== null && typeof value === 'object' && !Array.isArray(value)
        ? Object.fromEntries(
            Object.entries(value)
              .reverse()
              .map(([key, inner]) => [key, shuffled(inner)]),
          )
        : value;
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        const json = value as Json;
        expect(hashOf(shuffled(json))).toBe(hashOf(json));
        expect(JSON.parse(canonicalJson(json))).toEqual(JSON.parse(JSON.stringify(json)));
      }),
    );
  });
});

describe('a duration', () => {
  it('is milliseconds or a text with its unit', () => {
    expect([250, '250ms', '5s', '1.5m', '2h', '1d'].map((it) => parseDuration(it as '5s'))).toEqual([
      250, 250, 5_000, 90_000, 7_200_000, 86_400_000,
    ]);
  });

  it('is refused without unit, negative, or not a number', () => {
    for (const wrong of ['5', '-5s', 's', '5 s', '', -1, Number.NaN, Infinity]) {
      expect(() => parseDuration(wrong as '5s')).toThrow(RangeError);
    }
  });

  it('is written back so that it reads as the same length', () => {
    fc.assert(
      fc.property(fc.nat(), (ms) => {
        expect(parseDuration(formatDuration(ms) as '5s')).toBe(ms);
      }),
    );
  });
});

it('a name that was mistyped suggests the nearest known one, and a foreign one nothing', () => {
  const known = ['deadline', 'gateway', 'checks'];
  expect(nearest('dedline', known)).toBe('deadline');
  expect(nearest('GateWay', known)).toBe('gateway');
  expect(nearest('mirror', known)).toBeNull();
  expect(nearest('', [])).toBeNull();
});

it('a throttle is no part of what a run is frozen to, and refuses what is no rate', () => {
  const plan = (throttle: object) => parsePlan({ ...author(), throttle });
  expect(planHash(plan({ maxRate: '20MB/s', replicas: ['mariadb://a:hunter2@b/c'] }))).toBe(planHash(plan({})));
  expect(plan({ maxRate: '20MB/s', replicaLag: '3s' }).throttle).toEqual({
    maxRate: { perSecond: 20_000_000, unit: 'bytes' },
    sourceLatencyMs: 100,
    replicaLagMs: 3000,
    replicas: [],
  });
  for (const maxRate of ['20mb', '0MB', 20])
    expect(planProblems({ ...author(), throttle: { maxRate } })).toMatchObject([
      { path: 'throttle.maxRate', remedy: "write maxRate: '20MB/s'" },
    ]);
});

it('plan.schema.json is what the validation says (UPDATE=1 rewrites it)', () => {
  const file = new URL('../../plan.schema.json', import.meta.url);
  const generated = `${JSON.stringify(planJsonSchema(), null, 2)}\n`;
  if (process.env['UPDATE'] === '1') writeFileSync(file, generated);
  expect(readFileSync(file, 'utf8')).toBe(generated);
});
