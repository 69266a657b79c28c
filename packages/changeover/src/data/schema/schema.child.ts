/**
 * A run that makes tables and that tests kill: `node schema.child.ts <folder> <legacy> <next> <make|remove> <epoch> <statements>`. It dies by its
 * own SIGKILL right after so many committed statements; with fewer left it goes on to the end.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { OpenStore, Store } from '../../plan/stores.ts';
import type { Json } from '../../plan/words.ts';
import { testContext } from '../../testing/context.ts';
import { createDataMove, sync } from '../move.ts';
import { postgres } from '../stores/postgres/index.ts';
import { sqlite } from '../stores/sqlite/index.ts';

const [folder = '', legacy = '', next = '', what, epoch = '1', statements = '1'] = process.argv.slice(2);
const ctx = testContext(folder, { epoch: Number(epoch) });
let left = Number(statements);

/** The same store, but the process ends with the last of the statements that it may do. */
function dying(store: Store): Store {
  const open: Store['open'] = async (...given) => {
    const opened = await store.open(...given);
    const { schema } = opened;
    if (schema === undefined) throw new Error('a store with a schema is needed');
    const change: typeof schema.change = async (texts, options) => {
      await schema.change(texts, options);
      if (options?.isTrial === true) return;
      left -= 1;
      if (left > 0) return;
      process.kill(process.pid, 'SIGKILL');
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
    };
    return new Proxy<OpenStore>(opened, {
      get: (target, name) => {
        if (name === 'schema') return { query: schema.query.bind(schema), change };
        const value: unknown = Reflect.get(target, name, target);
        return typeof value === 'function' ? (value.bind(target) as unknown) : value;
      },
    });
  };
  return new Proxy(store, {
    get: (target, name) => {
      if (name === 'open') return open;
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === 'function' ? (value.bind(target) as unknown) : value;
    },
  });
}

const storeAt = (address: string) => (address.startsWith('postgres:') ? postgres(address) : sqlite(address));
const tables = { parents: {}, children: {} };
const data = createDataMove([
  sync({ name: 'main', from: storeAt(legacy), to: dying(storeAt(next)), tables, schema: 'create' }),
]);
const { schema } = data;
if (schema === null) throw new Error('no schema is made');

// What the engine's journal does with `before`.
const journal = path.join(folder, 'missing.json');
if (!existsSync(journal)) writeFileSync(journal, JSON.stringify(await schema.missing(ctx)));
const missing = JSON.parse(readFileSync(journal, 'utf8')) as Json;

await data.installEpoch(ctx);
if (what === 'make') {
  await schema.create(ctx, missing);
  await data.prepare(ctx);
  await data.copy(ctx);
  await schema.complete(ctx, missing);
  const verdicts = await data.verify(ctx, 'forward', 'full');
  if (verdicts.some(({ outcome }) => outcome !== 'PASS')) throw new Error(JSON.stringify(verdicts));
} else {
  await data.uninstall(ctx, { emptyTarget: true });
  await schema.remove(ctx, missing);
}
await data.close();
console.log('done');
