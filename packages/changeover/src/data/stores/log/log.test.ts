import { spawnSync } from 'node:child_process';
import {
  appendFileSync,
  chmodSync,
  cpSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Context } from '../../../plan/context.ts';
import type { ChangeBatch, Key, Row } from '../../../plan/stores.ts';
import { startChild } from '../../../testing/child.ts';
import { testContext } from '../../../testing/context.ts';
import { NO_NUMPY, pythonsWithNumpy } from '../../../testing/cpython.ts';
import { tempFolder, type TempFolder } from '../../../testing/temp.ts';
import { log } from './log.ts';
import type { OpenLog } from './open-log.ts';

let temp: TempFolder;
let ctx: Context;
let file: string;
let opened: OpenLog[];

beforeEach(async () => {
  temp = await tempFolder();
  ctx = testContext(temp.path);
  mkdirSync(ctx.root);
  file = path.join(ctx.root, 'events.log');
  opened = [];
});

afterEach(async () => {
  for (const store of opened) await store.close();
  await temp.remove();
});

async function open(format: 'python' | 'json' | 'text' = 'python', overrides: Partial<Context> = {}): Promise<OpenLog> {
  const store = await log('events.log', { format }).open({ ...ctx, ...overrides });
  opened.push(store);
  return store;
}

async function all(store: OpenLog, limit = 3): Promise<Row[]> {
  const rows: Row[] = [];
  for (let after: Key | null = null; ;) {
    const chunk: Row[] = await store.chunk('lines', after, limit);
    rows.push(...chunk);
    const last = chunk.at(-1);
    if (last === undefined || chunk.length < limit) return rows;
    after = [last['id'] ?? null];
  }
}

function upsert(store: OpenLog, rows: readonly Row[], epoch = 1): Promise<void> {
  return store.write({ epoch, changes: [{ table: 'lines', deletes: [], upserts: rows }] });
}

const ids = (batch: ChangeBatch): unknown[] => batch.changes.map(({ key }) => key[0]);
const event = (n: number): string => `{'n': ${n}, 'distance': inf, 'name': "it's"}`;

describe('reading', () => {
  it('takes complete lines that parse, and knows them by where they start', async () => {
    writeFileSync(file, `${event(1)}\n{'broken': \n${event(2)}\n{'half': 1`);
    const store = await open();
    const rows = await all(store, 1);
    expect(rows).toEqual([
      { id: '@0', offset: 0, number: 1, text: event(1) },
      { id: '@54', offset: 54, number: 3, text: event(2) },
    ]);
    expect(await store.count()).toBe(2);
    expect(await store.rows('lines', [['@54'], ['@0'], ['@42'], ['@7'], ['nobody']])).toHaveLength(2);
    expect(await store.brokenLines()).toMatchObject([{ number: 2, offset: 42 }]);
  });

  it('reports what is broken by number and reason, and evaluates nothing', async () => {
    const marker = path.join(temp.path, 'evaluated');
    const lines = [
      Buffer.from(event(1)),
      Buffer.from(`__import__('os').system('touch ${marker}')`),
      Buffer.from([0x27, 0xff, 0x27]),
      Buffer.from(''),
      Buffer.alloc(20),
      Buffer.from('['.repeat(5000)),
    ];
    writeFileSync(file, Buffer.concat([...lines.flatMap((line) => [line, Buffer.from('\n')]), Buffer.from("{'half")]));
    const store = await open();
    const findings = await store.check(['lines'], 'source');
    expect(findings.map(({ about }) => about)).toEqual([
      'events.log:2',
      'events.log:3',
      'events.log:4',
      'events.log:5',
      'events.log:6',
      'events.log',
    ]);
    expect(findings[0]?.message).toContain('__import__');
    expect(findings[1]?.message).toContain('not UTF-8');
    expect(findings[2]?.message).toContain('empty line');
    expect(findings[5]?.message).toContain('the last 6 bytes');
    expect(() => statSync(marker)).toThrow('ENOENT');
  });

  it('goes by the format', async () => {
    writeFileSync(file, `{"a": 1}\n{'a': 1}\nplain\n\n`);
    const json = await open('json');
    expect((await all(json)).map(({ text }) => text)).toEqual(['{"a": 1}']);
    await json.uninstall();
    const text = await open('text');
    expect((await all(text)).map((row) => row['text'])).toEqual(['{"a": 1}', "{'a': 1}", 'plain', '']);
  });

  it('has no rows where the file is missing or empty', async () => {
    const store = await open();
    expect(await all(store)).toEqual([]);
    expect(await store.count()).toBe(0);
    expect(await store.check(['lines'], 'source')).toMatchObject([{ level: 'warning' }]);
    writeFileSync(file, '');
    expect(await store.count()).toBe(0);
    expect(await store.check(['lines'], 'source')).toEqual([]);
  });

  it('reads a line of two megabytes between small ones', async () => {
    const long = `{'text': '${'ä'.repeat(1_000_000)}'}`;
    writeFileSync(file, `${event(1)}\n${long}\n${event(2)}\n`);
    const rows = await all(await open());
    expect(rows.map(({ text }) => String(text).length)).toEqual([event(1).length, long.length, event(2).length]);
    expect(rows.map(({ number }) => number)).toEqual([1, 2, 3]);
  });

  it('reads a hundred thousand lines once, and then only what was added', async () => {
    writeFileSync(file, Array.from({ length: 100_000 }, (_, n) => `${event(n)}\n`).join(''));
    const store = await open();
    await store.capture.install(['lines']);
    expect(await store.count()).toBe(100_000);
    appendFileSync(file, `${event(100_000)}\n`);
    const begin = performance.now();
    const batch = await store.capture.pending(1000);
    expect(ids(batch)).toHaveLength(1);
    const [row] = await store.rows(
      'lines',
      batch.changes.map(({ key }) => key),
    );
    expect(row).toMatchObject({ number: 100_001, text: event(100_000) });
    // The whole file takes several hundred milliseconds even here.
    expect(performance.now() - begin).toBeLessThan(150);
    const again = await open();
    const reopened = performance.now();
    expect(await again.count()).toBe(100_001);
    expect(performance.now() - reopened).toBeLessThan(50);
    const middle = await again.chunk('lines', [(await store.chunk('lines', null, 60_000)).at(-1)?.['id'] ?? null], 2);
    expect(middle.map(({ number }) => number)).toEqual([60_001, 60_002]);
  });
});

describe('capture', () => {
  it('sees added lines in batches, until they are acknowledged', async () => {
    writeFileSync(file, `${event(1)}\n`);
    const store = await open();
    await store.capture.install(['lines']);
    expect(await store.capture.pending(10)).toMatchObject({ changes: [], rescan: [], remaining: 0 });
    appendFileSync(file, `${event(2)}\nbroken\n${event(3)}\n${event(4)}\n{'half`);
    const batch = await store.capture.pending(2);
    expect(ids(batch)).toEqual(['@42', '@91']);
    expect(batch.remaining).toBe(1);
    expect(ids(await (await open()).capture.pending(2))).toEqual(['@42', '@91']);
    appendFileSync(file, `': 1}\n`);
    await store.capture.acknowledge(batch);
    const rest = await store.capture.pending(10);
    expect(ids(rest)).toEqual(['@133', '@175']);
    await store.capture.acknowledge(rest);
    expect(await store.capture.pending(10)).toMatchObject({ changes: [], remaining: 0 });
    await store.capture.install(['lines']);
    expect(await store.capture.intact()).toEqual([]);
  });

  it.each([
    ['truncated', () => truncateSync(file, 42)],
    ['emptied and grown again', () => writeFileSync(file, `${event(7)}\n`.repeat(5))],
    [
      'rotated',
      () => {
        renameSync(file, `${file}.1`);
        writeFileSync(file, `${event(8)}\n`.repeat(9));
      },
    ],
    ['removed', () => rmSync(file)],
  ])('asks for a comparison when the file was %s', async (_how, change) => {
    writeFileSync(file, `${event(1)}\n${event(2)}\n${event(3)}\n`);
    const store = await open();
    await store.capture.install(['lines']);
    change();
    const batch = await store.capture.pending(10);
    expect(batch).toMatchObject({ changes: [], rescan: ['lines'] });
    await store.capture.acknowledge(batch);
    expect(await store.capture.pending(10)).toMatchObject({ changes: [], rescan: [] });
    appendFileSync(file, `${event(9)}\n`);
    expect(ids(await store.capture.pending(10))).toHaveLength(1);
  });

  it('starts from a log that does not exist yet', async () => {
    const store = await open();
    await store.capture.install(['lines']);
    writeFileSync(file, `${event(1)}\n`);
    expect(ids(await store.capture.pending(10))).toEqual(['@0']);
    await store.capture.remove();
    await store.capture.install(['lines']);
    expect(await store.capture.pending(10)).toMatchObject({ changes: [], rescan: [] });
  });

  it('asks for a comparison when its own state was lost', async () => {
    writeFileSync(file, `${event(1)}\n`);
    const store = await open();
    await store.capture.install(['lines']);
    await store.capture.remove();
    expect(await store.capture.intact()).toHaveLength(1);
    await store.capture.install(['lines']);
    const batch = await store.capture.pending(10);
    expect(batch.rescan).toEqual(['lines']);
    await store.capture.acknowledge(batch);
    expect(await store.capture.pending(10)).toMatchObject({ changes: [], rescan: [] });
  });
});

describe('writing', () => {
  it('appends rows of unknown ids in order, and is a no-op the second time', async () => {
    writeFileSync(file, `${event(1)}\n`, { mode: 0o640 });
    chmodSync(file, 0o640);
    const store = await open();
    const rows = [
      { id: '@0', text: event(1) },
      { id: 'b', text: event(2) },
      { id: 'c', text: event(2) },
    ];
    await upsert(store, rows);
    const { mtimeNs, mode } = statSync(file, { bigint: true });
    expect(mode & 0o777n).toBe(0o640n);
    await upsert(store, rows);
    expect(statSync(file, { bigint: true }).mtimeNs).toBe(mtimeNs);
    expect(readFileSync(file, 'utf8')).toBe(`${event(1)}\n${event(2)}\n${event(2)}\n`);
    expect((await all(await open())).map(({ id, number }) => [id, number])).toEqual([
      ['@0', 1],
      ['b', 2],
      ['c', 3],
    ]);
  });

  it('refuses another text for a line that is there, and what is no line', async () => {
    const store = await open();
    await upsert(store, [{ id: 'a', text: event(1) }]);
    for (const [row, reason] of [
      [{ id: 'a', text: event(2) }, 'another text'],
      [{ id: 'b', text: `${event(2)}\n${event(3)}` }, 'a line break'],
      [{ id: 'b', text: 'open(1)' }, 'the name open'],
      [{ id: 'b', text: "'\ud800'" }, 'surrogate'],
      [{ id: 5, text: event(1) }, 'must be texts'],
    ] as const) {
      const writing = upsert(store, [{ id: 'c', text: event(3) }, row]);
      await expect(writing).rejects.toMatchObject({ code: 'CHG_DATA_ROW_REFUSED' });
      await expect(writing).rejects.toThrow(reason);
    }
    expect(readFileSync(file, 'utf8')).toBe(`${event(1)}\n`);
  });

  it('counts deletes, whose lines stay but are no rows any more, and takes them back', async () => {
    writeFileSync(file, `${event(1)}\n${event(2)}\n`);
    const store = await open();
    await store.write({ epoch: 1, changes: [{ table: 'lines', deletes: [['@0'], ['gone']], upserts: [] }] });
    expect(store.ignoredDeletes()).toBe(1);
    expect((await all(store)).map(({ id }) => id)).toEqual(['@42']);
    expect(await store.count()).toBe(1);
    expect(await store.rows('lines', [['@0']])).toEqual([]);
    expect(readFileSync(file, 'utf8')).toContain(event(1));
    await upsert(store, [{ id: '@0', text: event(1) }]);
    expect(store.ignoredDeletes()).toBe(0);
    expect(await store.count()).toBe(2);
  });

  it('does not hide a line of another file behind a delete', async () => {
    writeFileSync(file, `${event(1)}\n`);
    const store = await open();
    await store.write({ epoch: 1, changes: [{ table: 'lines', deletes: [['@0']], upserts: [] }] });
    writeFileSync(file, `${event(2)}\n`);
    expect((await all(store)).map(({ text }) => text)).toEqual([event(2)]);
    expect(store.ignoredDeletes()).toBe(0);
  });

  it('keeps the ids of lines that another file still has', async () => {
    const store = await open();
    await upsert(store, [
      { id: 'a', text: event(1) },
      { id: 'b', text: event(2) },
    ]);
    const text = readFileSync(file, 'utf8');
    rmSync(file);
    writeFileSync(file, text.replace("'n': 2", "'n': 3"));
    expect((await all(store)).map(({ id }) => id)).toEqual(['a', '@42']);
  });

  it('gives a row the name of a native line that is elsewhere, and both are found', async () => {
    writeFileSync(file, `${event(1)}\n`);
    const store = await open();
    await upsert(store, [{ id: '@84', text: event(2) }]);
    appendFileSync(file, `${event(3)}\n`);
    expect((await all(store, 1)).map(({ id, text }) => [id, text])).toEqual([
      ['@0', event(1)],
      ['@84', event(2)],
      ["@84'", event(3)],
    ]);
    expect(await store.rows('lines', [["@84'"]])).toMatchObject([{ text: event(3) }]);
  });

  it('ends a half line before it appends', async () => {
    writeFileSync(file, `${event(1)}\n${event(2).slice(0, 9)}`);
    const store = await open();
    await upsert(store, [{ id: 'a', text: event(3) }]);
    expect((await all(store)).map(({ text }) => text)).toEqual([event(1), event(3)]);
    expect(await store.brokenLines()).toMatchObject([{ number: 2 }]);
  });

  it('writes a chunk of a copy once', async () => {
    const store = await open();
    const entry = {
      run: 'r',
      sync: 's',
      table: 'lines',
      seq: 0,
      lastKey: '["ta"]',
      rows: 1,
      hash: 'h',
      complete: true,
    };
    const batch = (text: string) => ({
      epoch: 1,
      changes: [{ table: 'lines', deletes: [], upserts: [{ id: 'a', text }] }],
      ledger: entry,
    });
    await store.write(batch(event(1)));
    await store.write(batch(event(2)));
    expect(await store.ledger('r', 's')).toEqual([entry]);
    expect(readFileSync(file, 'utf8')).toBe(`${event(1)}\n`);
    await expect(store.empty()).rejects.toMatchObject({ code: 'CHG_DATA_LOG_GROWS' });
  });

  it('stands still behind a gate that another owner raised', async () => {
    const old = await open();
    const owner = await open('python', { epoch: 2 });
    await owner.installEpoch(2);
    await expect(upsert(old, [{ id: 'a', text: event(1) }])).rejects.toMatchObject({ code: 'CHG_DATA_EPOCH_STALE' });
    await expect(old.capture.install(['lines'])).rejects.toMatchObject({ code: 'CHG_DATA_EPOCH_STALE' });
    await owner.installEpoch(1);
    await expect(upsert(old, [{ id: 'a', text: event(1) }])).rejects.toThrow('the gate is at 2');
    await upsert(owner, [{ id: 'a', text: event(1) }], 2);
    expect(await all(owner)).toHaveLength(1);
  });
});

describe('a kill', () => {
  const rows = [
    { id: 'a', text: event(2) },
    { id: 'b', text: event(3) },
  ];

  async function killedAt(point: string): Promise<void> {
    const child = startChild(new URL('./log.child.ts', import.meta.url).pathname, {
      args: [temp.path, point, JSON.stringify(rows)],
    });
    expect(await child.exited, child.output()).toEqual({ code: null, signal: 'SIGKILL' });
  }

  const whole = `${event(1)}\n${event(2)}\n${event(3)}\n`;

  it.each(['data.log.intended', 'data.log.appended', 'data.log.recorded'])(
    'at %s loses and doubles nothing',
    async (point) => {
      writeFileSync(file, `${event(1)}\n`);
      await killedAt(point);
      const store = await open();
      await upsert(store, rows);
      expect(readFileSync(file, 'utf8')).toBe(whole);
      expect((await all(store)).map(({ id }) => id)).toEqual(['@0', 'a', 'b']);
    },
  );

  it('in the middle of the bytes, at any of them, is repaired', async () => {
    writeFileSync(file, `${event(1)}\n`);
    await killedAt('data.log.intended');
    cpSync(ctx.stateDir, `${ctx.stateDir}.killed`, { recursive: true });
    for (let length = 1; length < whole.length - 42; length += 1) {
      writeFileSync(file, whole.slice(0, 42 + length));
      rmSync(ctx.stateDir, { recursive: true });
      cpSync(`${ctx.stateDir}.killed`, ctx.stateDir, { recursive: true });
      const store = await log('events.log', { format: 'python' }).open(ctx);
      await store.prepare();
      expect(readFileSync(file, 'utf8')).toBe(whole);
      expect((await all(store)).map(({ id }) => id)).toEqual(['@0', 'a', 'b']);
      await store.close();
    }
  });

  it('is not repaired over what somebody else wrote', async () => {
    writeFileSync(file, `${event(1)}\n`);
    await killedAt('data.log.intended');
    appendFileSync(file, `${event(2).slice(0, 9)}${event(9)}\n`);
    const store = await open();
    await expect(store.prepare()).rejects.toMatchObject({ code: 'CHG_DATA_LOG_TAIL', exitCode: 3 });
  });

  it('leaves the repair to the owner', async () => {
    writeFileSync(file, `${event(1)}\n`);
    await killedAt('data.log.appended');
    await (await open('python', { epoch: 3 })).installEpoch(3);
    expect(readFileSync(file, 'utf8')).toBe(whole);
    const reader = await open('python', { epoch: 0 });
    expect((await all(reader)).map(({ id }) => id)).toEqual(['@0', 'a', 'b']);
  });
});

const [python] = pythonsWithNumpy();
it.skipIf(!python)(`CPython reads every appended line${python ? '' : ` (${NO_NUMPY})`}`, async () => {
  const store = await open();
  await upsert(store, [
    { id: 'a', text: event(1) },
    { id: 'b', text: `{'name': "Zoë's \\n", 'box': (1, 2.0)}` },
  ]);
  const output = python?.run(
    `with open(${JSON.stringify(file)}, encoding='utf-8') as lines:
    for line in lines:
        print(sorted(eval(line, {'inf': float('inf')})))`,
  );
  expect(output?.toString()).toBe("['distance', 'n', 'name']\n['box', 'name']\n");
  expect(spawnSync('tail', ['-c1', file]).stdout.toString()).toBe('\n');
});
