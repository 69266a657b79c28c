import {
  appendFileSync,
  chmodSync,
  chownSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Context } from '../../../plan/context.ts';
import type { ChangeBatch, OpenStore, Row } from '../../../plan/stores.ts';
import { startChild } from '../../../testing/child.ts';
import { testContext } from '../../../testing/context.ts';
import { NO_NUMPY, pythonsWithNumpy } from '../../../testing/cpython.ts';
import { tempFolder, type TempFolder } from '../../../testing/temp.ts';
import { stampOf } from '../../durable.ts';
import { NdArray, writePickle } from '../../python/index.ts';
import { faces } from './document.child.ts';
import { document } from './document.ts';
import { jsonFormat } from './format.ts';

let temp: TempFolder;
let ctx: Context;
let folder: string;
let known: string;
let blacklist: string;
let opened: OpenStore[];

beforeEach(async () => {
  temp = await tempFolder();
  ctx = testContext(temp.path);
  folder = path.join(ctx.root, 'data');
  mkdirSync(folder, { recursive: true });
  known = path.join(folder, 'known.pkl');
  blacklist = path.join(folder, 'blacklist.pkl');
  opened = [];
});

afterEach(async () => {
  for (const store of opened) await store.close();
  await temp.remove();
});

async function open(overrides: Partial<Context> = {}): Promise<OpenStore> {
  const store = await faces().open({ ...ctx, ...overrides }, 'legacy');
  opened.push(store);
  return store;
}

const cache = (...names: string[]): Uint8Array =>
  writePickle({ encodings: names.map((name) => NdArray.float64([name.length, 0.5])), names });

const row = (list: string, position: number, name: string): Row => ({
  list,
  position,
  name,
  encoding: `[${name.length},0.5]`,
});

const all = (store: OpenStore): Promise<Row[]> => store.chunk('faces', null, 100);
const replace = (store: OpenStore, rows: Row[], epoch = 1) =>
  store.replace?.({ faces: rows }, epoch) ?? Promise.reject(new Error('no replace'));
const keys = (batch: ChangeBatch): unknown[] => batch.changes.map(({ key }) => key);
/** As if the file had been written a while ago. */
const settle = (file: string): void => {
  utimesSync(file, new Date(0), new Date(0));
};

describe('reading', () => {
  it('makes rows of all files, in the order of their keys; a missing file is null', async () => {
    writeFileSync(known, cache('Ann', 'Bob', 'Cy'));
    const store = await open();
    expect(await all(store)).toEqual([row('known', 0, 'Ann'), row('known', 1, 'Bob'), row('known', 2, 'Cy')]);
    writeFileSync(blacklist, cache('Eve'));
    expect((await all(store)).map(({ name }) => name)).toEqual(['Eve', 'Ann', 'Bob', 'Cy']);
    expect((await store.chunk('faces', ['blacklist', 0], 2)).map(({ name }) => name)).toEqual(['Ann', 'Bob']);
    expect(await store.chunk('faces', ['known', 2], 2)).toEqual([]);
    expect(
      await store.rows('faces', [
        ['known', 1],
        ['known', 9],
      ]),
    ).toEqual([row('known', 1, 'Bob')]);
    expect(await store.count('faces')).toBe(4);
    expect((await store.shape('faces')).columns.map(({ name, type }) => `${name} ${type}`)).toEqual([
      'list text',
      'position integer',
      'name text',
      'encoding text',
    ]);
    await expect(store.count('people')).rejects.toMatchObject({ code: 'CHG_DATA_TABLE_MISSING' });
  });

  it('notices a rewrite of the same size within the same clock tick', async () => {
    const store = await open();
    for (let n = 0; n < 50; n += 1) {
      writeFileSync(known, cache(`Ann${String(n).padStart(3, '0')}`));
      expect((await all(store))[0]?.['name']).toBe(`Ann${String(n).padStart(3, '0')}`);
    }
  });

  it('waits for a writer that is in the middle of the file', async () => {
    const bytes = cache('Ann', 'Bob');
    writeFileSync(known, bytes.subarray(0, 40));
    const store = await open();
    const reading = all(store);
    setTimeout(() => {
      appendFileSync(known, bytes.subarray(40));
    }, 200);
    expect(await reading).toHaveLength(2);
  });

  it('says clearly what is broken, and check does too', async () => {
    writeFileSync(known, cache('Ann').subarray(0, 40));
    settle(known);
    const store = await open({ clock: { ...ctx.clock, wallMs: () => Date.now() + 60_000 } });
    await expect(all(store)).rejects.toMatchObject({ code: 'CHG_DATA_DOCUMENT_BROKEN' });
    await expect(all(store)).rejects.toThrow(/known\.pkl is no pickle 4: .*byte/);
    expect(await store.check(['faces'], 'source')).toMatchObject([{ level: 'error' }]);
    await expect(replace(store, [])).rejects.toMatchObject({ code: 'CHG_DATA_DOCUMENT_BROKEN' });
    writeFileSync(known, Buffer.from('cos\nsystem\n.'));
    await expect(all(store)).rejects.toThrow('no pickle of protocol 2');
  });

  it('refuses rows without a key or with the same one', async () => {
    const make = (rows: () => Row[]) =>
      document({ files: { a: 'data/a.json' }, format: jsonFormat(), tables: { t: { key: ['id'], rows } } }).open(
        ctx,
        'legacy',
      );
    for (const [rows, reason] of [
      [() => [{ id: 1 }, { id: 1n }], 'two rows with the key 1'],
      [() => [{ id: null }], 'a row without id'],
      [
        () => {
          throw new Error('no such field');
        },
        'no such field',
      ],
    ] as [() => Row[], string][]) {
      const store = await make(rows);
      opened.push(store);
      await expect(store.count('t')).rejects.toThrow(reason);
      await expect(store.count('t')).rejects.toMatchObject({ code: 'CHG_DATA_DOCUMENT_ROWS' });
    }
  });
});

describe('a list', () => {
  interface Names {
    readonly names: readonly string[];
  }
  const list = () =>
    document({
      files: { a: 'data/a.json' },
      format: jsonFormat(),
      tables: {
        names: {
          key: ['position'],
          order: 'position',
          rows: ({ a }) => ((a as unknown as Names | null)?.names ?? []).map((name, position) => ({ position, name })),
        },
        initials: {
          key: ['letter'],
          derived: true,
          rows: ({ a }) =>
            [...new Set((a as unknown as Names | null)?.names.map((name) => name.slice(0, 1)))].map((letter) => ({
              letter,
            })),
        },
      },
      render: ({ names }) => ({ a: { names: names.map(({ name }) => String(name)) } }),
    });

  it('is numbered again when rows come back with gaps, and what is derived from it follows', async () => {
    writeFileSync(path.join(folder, 'a.json'), JSON.stringify({ names: ['Ann', 'Bob', 'Cy'] }));
    const store = await list().open(ctx, 'legacy');
    opened.push(store);
    const rows = store.arrange?.('names', [
      { position: 2 ** 40 + 7, name: 'Zoe' },
      { position: 0, name: 'Ann' },
      { position: 2, name: 'Cy' },
    ]);
    expect(rows).toEqual([
      { position: 0, name: 'Ann' },
      { position: 1, name: 'Cy' },
      { position: 2, name: 'Zoe' },
    ]);
    await store.replace?.({ names: rows ?? [] }, 1);
    expect(JSON.parse(readFileSync(path.join(folder, 'a.json'), 'utf8'))).toEqual({ names: ['Ann', 'Cy', 'Zoe'] });
    expect(await store.chunk('initials', null, 10)).toEqual([{ letter: 'A' }, { letter: 'C' }, { letter: 'Z' }]);
  });
});

describe('capture', () => {
  it('knows of a row that was read and had gone again before the next scan', async () => {
    writeFileSync(known, cache('Ann'));
    const store = await open();
    await store.capture.install(['faces']);
    writeFileSync(known, cache('Ann', 'Bob'));
    expect(await all(store)).toHaveLength(2);
    writeFileSync(known, cache('Ann'));
    // Another process goes on: what was read may be in the target already.
    const batch = await (await open()).capture.pending(10);
    expect(keys(batch)).toEqual([['known', 1]]);
  });

  it('keeps a row pending that was read in another state than the scan saw', async () => {
    writeFileSync(known, cache('Ann'));
    const store = await open();
    await store.capture.install(['faces']);
    writeFileSync(known, cache('Bob'));
    const batch = await store.capture.pending(10);
    writeFileSync(known, cache('Cy'));
    expect(await store.rows('faces', [['known', 0]])).toMatchObject([{ name: 'Cy' }]);
    await store.capture.acknowledge(batch);
    writeFileSync(known, cache('Bob'));
    const again = await store.capture.pending(10);
    expect(keys(again)).toEqual([['known', 0]]);
    expect(await store.rows('faces', [['known', 0]])).toMatchObject([{ name: 'Bob' }]);
    await store.capture.acknowledge(again);
    expect(keys(await store.capture.pending(10))).toEqual([]);
  });

  it('names exactly the rows that changed, until they are acknowledged', async () => {
    writeFileSync(known, cache('Ann', 'Bob', 'Cy'));
    const store = await open();
    await store.capture.install(['faces']);
    expect(await store.capture.pending(10)).toMatchObject({ changes: [], rescan: [], remaining: 0 });
    writeFileSync(known, cache('Ann', 'Rob'));
    writeFileSync(blacklist, cache('Eve'));
    const first = await store.capture.pending(2);
    expect(keys(first)).toEqual([
      ['blacklist', 0],
      ['known', 1],
    ]);
    expect(first.remaining).toBe(1);
    writeFileSync(known, cache('Ann', 'Zoe'));
    await store.capture.acknowledge(first);
    const again = await (await open()).capture.pending(10);
    expect(keys(again)).toEqual([
      ['known', 1],
      ['known', 2],
    ]);
    await store.capture.acknowledge(again);
    expect(await store.capture.pending(10)).toMatchObject({ changes: [], remaining: 0 });
    await store.capture.install(['faces']);
    expect(await store.capture.intact()).toEqual([]);
    rmSync(known);
    expect(keys(await store.capture.pending(10))).toHaveLength(2);
  });

  it('does not read settled files again', async () => {
    writeFileSync(known, cache('Ann'));
    const later = { ...ctx.clock, wallMs: () => Date.now() + 60_000 };
    const store = await open({ clock: later });
    await store.capture.install(['faces']);
    await store.capture.pending(10);
    const { atimeNs } = statSync(known, { bigint: true });
    await new Promise((resolve) => setTimeout(resolve, 20));
    for (let n = 0; n < 20; n += 1) expect(keys(await store.capture.pending(10))).toEqual([]);
    expect(statSync(known, { bigint: true }).atimeNs).toBe(atimeNs);
    writeFileSync(known, cache('Bob'));
    expect(keys(await store.capture.pending(10))).toEqual([['known', 0]]);
  });

  it('compares everything when its own state was lost', async () => {
    writeFileSync(known, cache('Ann'));
    const store = await open();
    await store.capture.install(['faces']);
    await store.capture.remove();
    expect(await store.capture.intact()).toHaveLength(1);
    await store.capture.install(['faces']);
    const batch = await store.capture.pending(10);
    expect(batch).toMatchObject({ changes: [], rescan: ['faces'] });
    await store.capture.acknowledge(batch);
    expect(await store.capture.pending(10)).toMatchObject({ changes: [], rescan: [] });
  });
});

describe('replacing', () => {
  it('leaves the bytes alone while the rows are the same', async () => {
    writeFileSync(
      known,
      writePickle({ names: ['Ann'], encodings: [NdArray.float64([3, 0.5])], extra: 1 }, { protocol: 2 }),
    );
    writeFileSync(blacklist, cache('Eve'));
    const stamps = () => [known, blacklist].map((file) => stampOf(statSync(file, { bigint: true })));
    const before = stamps();
    const store = await open();
    await replace(store, [row('known', 0, 'Ann'), row('blacklist', 0, 'Eve')]);
    await store.replace?.({}, 1);
    expect(stamps()).toEqual(before);
    await replace(store, [row('known', 0, 'Ann'), row('blacklist', 0, 'Eva')]);
    expect(stamps()[0]).toEqual(before[0]);
    expect(stamps()[1]).not.toEqual(before[1]);
  });

  it('keeps mode and owner, follows links, and leaves nothing behind', async () => {
    const real = path.join(temp.path, 'real.pkl');
    writeFileSync(real, cache('Ann'));
    symlinkSync(real, known);
    chmodSync(real, 0o4640);
    const isRoot = process.getuid?.() === 0;
    if (isRoot) chownSync(real, 4321, 4322);
    chmodSync(real, 0o640);
    writeFileSync(path.join(folder, '.blacklist.pkl.changeover-77'), 'half');
    const store = await open();
    await replace(store, [row('known', 0, 'Ann'), row('known', 1, 'Bob'), row('blacklist', 0, 'Eve')]);
    expect(await all(store)).toHaveLength(3);
    const stat = statSync(real);
    expect(stat.mode & 0o7777).toBe(0o640);
    if (isRoot) expect([stat.uid, stat.gid]).toEqual([4321, 4322]);
    expect(readdirSync(folder).sort()).toEqual(['blacklist.pkl', 'known.pkl']);
    expect(readdirSync(temp.path).sort()).toEqual(['real.pkl', 'root', 'state']);
    await replace(store, [row('blacklist', 0, 'Eve')]);
    expect(readdirSync(temp.path)).not.toContain('real.pkl');
  });

  it('refuses a render that loses something, before anything is changed', async () => {
    const file = path.join(folder, 'a.json');
    writeFileSync(file, '[1, 12345678901234567890]');
    const store = await document({
      files: { a: 'data/a.json' },
      format: jsonFormat(),
      tables: {
        numbers: {
          key: ['at'],
          rows: ({ a }) => (Array.isArray(a) ? a : []).map((value, at) => ({ at, value: value as bigint })),
        },
      },
      render: ({ numbers }) => ({ a: numbers.slice(0, 2).map(({ value }) => value as bigint) }),
    }).open(ctx, 'legacy');
    opened.push(store);
    expect(await store.check(['numbers'], 'target')).toEqual([]);
    const rows = await store.chunk('numbers', null, 10);
    expect(rows[1]).toEqual({ at: 1, value: 12345678901234567890n });
    await expect(store.replace?.({ numbers: [...rows, { at: 2, value: 3 }] }, 1)).rejects.toMatchObject({
      code: 'CHG_DATA_DOCUMENT_LOSSY',
    });
    expect(readFileSync(file, 'utf8')).toBe('[1, 12345678901234567890]');
    await store.replace?.({ numbers: [rows[1] ?? {}, rows[0] ?? {}].map((each, at) => ({ ...each, at })) }, 1);
    expect(readFileSync(file, 'utf8')).toBe('[\n  12345678901234567890,\n  1\n]\n');
  });

  it('writes single rows, and a chunk once', async () => {
    writeFileSync(known, cache('Ann', 'Bob'));
    const store = await open();
    const ledger = { run: 'r', sync: 's', table: 'faces', seq: 0, lastKey: null, rows: 1, hash: 'h', complete: true };
    const write = (deletes: Row[], upserts: Row[]) =>
      store.write({
        epoch: 1,
        changes: [
          { table: 'faces', deletes: deletes.map(({ list, position }) => [list ?? '', position ?? 0]), upserts },
        ],
        ledger,
      });
    await write([row('known', 1, 'Bob')], [row('known', 0, 'Anna')]);
    await write([row('known', 0, 'Anna')], []);
    expect(await all(store)).toEqual([row('known', 0, 'Anna')]);
    expect(await store.ledger('r', 's')).toEqual([ledger]);
    await store.empty(['faces'], 1);
    expect(readdirSync(folder)).toEqual([]);
  });

  it('stands still behind a gate that another owner raised', async () => {
    writeFileSync(known, cache('Ann'));
    const old = await open();
    await (await open({ epoch: 2 })).installEpoch(2);
    await expect(replace(old, [row('known', 0, 'Bob')])).rejects.toMatchObject({ code: 'CHG_DATA_EPOCH_STALE' });
    await expect(replace(old, [row('known', 0, 'Ann')])).rejects.toMatchObject({ code: 'CHG_DATA_EPOCH_STALE' });
    expect(readFileSync(known)).toEqual(Buffer.from(cache('Ann')));
    expect(readdirSync(folder)).toEqual(['known.pkl']);
  });
});

const after = [row('known', 0, 'Ann'), row('known', 1, 'Bob'), row('blacklist', 0, 'Eva')];
const [python] = pythonsWithNumpy();

/** What CPython loads, or null where there is none to ask. */
function loaded(file: string): string | null {
  const output = python?.run(
    `import pickle
with open(${JSON.stringify(file)}, 'rb') as f:
    d = pickle.load(f)
print(d['names'], [e.tolist() for e in d['encodings']])`,
  );
  return output?.toString().trim() ?? null;
}

describe(`a kill${python ? '' : ` (CPython is not asked: ${NO_NUMPY})`}`, () => {
  async function killedAt(point: string, pass: number): Promise<void> {
    writeFileSync(known, cache('Ann'));
    writeFileSync(blacklist, cache('Eve'));
    const child = startChild(new URL('./document.child.ts', import.meta.url).pathname, {
      args: [temp.path, point, String(pass), JSON.stringify(after)],
    });
    expect(await child.exited, child.output()).toEqual({ code: null, signal: 'SIGKILL' });
  }

  it.each([
    ['data.document.drafted', 1, false],
    ['data.document.intended', 1, true],
    ['data.document.renamed', 1, true],
    ['data.document.renamed', 2, true],
    ['data.document.done', 1, true],
  ] as const)('at %s (%i) leaves whole files, and what began is finished', async (point, pass, isDecided) => {
    await killedAt(point, pass);
    for (const file of [known, blacklist]) expect(loaded(file)).toMatch(python ? /^\['/ : /.*/);
    const store = await open();
    await store.installEpoch(2);
    await store.prepare();
    expect(readdirSync(folder).sort()).toEqual(['blacklist.pkl', 'known.pkl']);
    expect((await all(store)).map(({ name }) => name)).toEqual(isDecided ? ['Eva', 'Ann', 'Bob'] : ['Eve', 'Ann']);
    await replace(store, after, 2);
    expect((await all(store)).map(({ name }) => name)).toEqual(['Eva', 'Ann', 'Bob']);
    if (python) {
      expect(loaded(known)).toBe("['Ann', 'Bob'] [[3.0, 0.5], [3.0, 0.5]]");
      expect(loaded(blacklist)).toBe("['Eva'] [[3.0, 0.5]]");
    }
  });

  it('between two renames does not overwrite what somebody wrote since', async () => {
    await killedAt('data.document.renamed', 1);
    const names = [known, blacklist].map(
      (file) => readFileSync(file).includes('Eva') || readFileSync(file).includes('Bob'),
    );
    const [left] = [known, blacklist].filter((_file, index) => !names[index]);
    expect(left).toBeDefined();
    const draft = `${String(left)}.new`;
    writeFileSync(draft, cache('Later'));
    renameSync(draft, String(left));
    const store = await open();
    await store.prepare();
    expect((await all(store)).map(({ name }) => name)).toContain('Later');
    expect(readdirSync(folder).sort()).toEqual(['blacklist.pkl', 'known.pkl']);
  });
});
