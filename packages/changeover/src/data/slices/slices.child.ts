import { existsSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { SyncDefinition } from '../../plan/sync.ts';
import type { TestDatabase } from '../../testing/databases.ts';
import { passesButForChanging } from '../../plan/words.ts';
import { killAt, testContext } from '../../testing/context.ts';
import { createDataMove, sync } from '../move.ts';
import { postgres } from '../stores/postgres/index.ts';
import { sqlite } from '../stores/sqlite/index.ts';

/** Networks with streams, which were played, with notes on that; and countries, which are nobody's. Read by every engine alike. */
export const SCHEMA = `
  CREATE TABLE countries (id INTEGER PRIMARY KEY, name TEXT NOT NULL);
  CREATE TABLE streams (
    id TEXT PRIMARY KEY NOT NULL, network_id TEXT, country_id INTEGER REFERENCES countries (id), title TEXT NOT NULL,
    UNIQUE (network_id, title));
  CREATE TABLE plays (id TEXT PRIMARY KEY NOT NULL, stream_id TEXT REFERENCES streams (id) ON DELETE CASCADE, at INTEGER);
  CREATE TABLE notes (id TEXT PRIMARY KEY NOT NULL, play_id TEXT REFERENCES plays (id) ON DELETE CASCADE, text TEXT);`;

export async function seed(database: TestDatabase): Promise<void> {
  const numbers = Array.from({ length: 25 }, (_, index) => index + 1);
  const all = ['a', 'b'].flatMap((network) =>
    numbers.map((number) => ({ id: `${network}${number}`, network, number })),
  );
  const rows = (row: (one: (typeof all)[number]) => string) => all.map(row).join(', ');
  await database.exec(`INSERT INTO countries VALUES (1, 'Germany'), (2, 'France');
    INSERT INTO streams VALUES ${rows(({ id, network, number }) => `('${id}', '${network}', ${1 + (number % 2)}, 'stream ${number}')`)};
    INSERT INTO plays VALUES ${rows(({ id, number }) => `('${id}-play', '${id}', ${number})`)};
    INSERT INTO notes VALUES ${rows(({ id, number }) => `('${id}-note', '${id}-play', 'note ${number}')`)}`);
}

export function storeOf(address: string) {
  return address.startsWith('postgres') ? postgres(address) : sqlite(address, { busyTimeoutMs: 5000 });
}

export function syncOf(from: string, to: string): SyncDefinition {
  return sync({
    name: 'main',
    from: storeOf(from),
    to: storeOf(to),
    tables: { countries: {}, streams: {}, plays: {}, notes: {} },
    chunkRows: 10,
    slices: {
      column: 'network_id',
      through: {
        plays: { column: 'stream_id', parent: 'streams' },
        notes: { column: 'play_id', parent: 'plays' },
      },
      shared: ['countries'],
    },
  });
}

/**
 * A runner that tests kill: `node slices.child.ts <folder> <legacy> <next> <slice> <forward|reverse> <epoch> <crash point or ->`. It goes back to where
 * the decision was not made, and then through to the other side.
 */
async function run(args: readonly string[]): Promise<void> {
  const [folder = '', legacy = '', next = '', slice = '', direction, epoch = '1', point = '-'] = args;
  const way = direction === 'reverse' ? 'reverse' : 'forward';
  const ctx = testContext(folder, { epoch: Number(epoch), ...(point === '-' ? {} : { faults: killAt(point) }) });
  const data = createDataMove([syncOf(legacy, next)], { slice });
  const decided = path.join(folder, `decided-${way}`);
  const [from, to] = way === 'forward' ? (['legacy', 'next'] as const) : (['next', 'legacy'] as const);
  await data.installEpoch(ctx);
  if (!existsSync(decided)) {
    await data.unfence(ctx, from);
    if (way === 'forward') {
      await data.prepare(ctx);
      await data.copy(ctx);
      await data.prepareReverse(ctx);
    }
    for (let pass = 0; pass < 20; pass++) if ((await data.catchUp(ctx, way)).pending < 20) break;
    const before = await data.verify(ctx, way, 'full');
    const locked = await data.lock(ctx, way);
    await locked.applyToEmpty();
    const verdicts = [...before, ...(await locked.verify('changed'))];
    if (verdicts.some((verdict) => !passesButForChanging(verdict))) throw new Error(JSON.stringify(verdicts));
    await locked.sequences();
    await locked.fence();
    writeFileSync(decided, '');
  }
  await data.unfence(ctx, to);
  await data.close();
}

if (import.meta.main) await run(process.argv.slice(2));
