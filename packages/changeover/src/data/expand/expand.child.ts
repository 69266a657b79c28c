/**
 * An expansion that tests kill: `node expand.child.ts <folder> <address> <make|undo|finish> <epoch> <statements>`. It dies by its own SIGKILL right
 * after so many committed statements; with fewer left, or with 0, it goes on to the end.
 */
import type { OpenStore, SchemaAccess, Store } from '../../plan/stores.ts';
import { testContext } from '../../testing/context.ts';
import { createDataMove, expand } from '../move.ts';
import { postgres } from '../stores/postgres/index.ts';
import { PEOPLE } from './people.ts';

const [folder = '', address = '', what, epoch = '1', statements = '1'] = process.argv.slice(2);
const ctx = testContext(folder, { epoch: Number(epoch), liveSide: what === 'finish' ? 'next' : 'legacy' });
let left = Number(statements);

function counted(): void {
  left -= 1;
  if (left !== 0) return;
  process.kill(process.pid, 'SIGKILL');
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
}

function dyingSchema(schema: SchemaAccess): SchemaAccess {
  return {
    query: schema.query.bind(schema),
    change: async (...given) => {
      await schema.change(...given);
      counted();
    },
    outside: async (statement) => {
      await schema.outside?.(statement);
      counted();
    },
  };
}

/** The same store, but the process ends with the last of the statements that it may do. */
function dying(store: Store): Store {
  const bound = <Target extends object>(target: Target, replaced: Partial<Target>) =>
    new Proxy(target, {
      get: (inner, name) => {
        if (name in replaced) return replaced[name as keyof Target];
        const value: unknown = Reflect.get(inner, name, inner);
        return typeof value === 'function' ? (value.bind(inner) as unknown) : value;
      },
    });
  return bound(store, {
    open: async (...given) => {
      const opened = await store.open(...given);
      if (opened.schema === undefined) throw new Error('a store with a schema is needed');
      return bound<OpenStore>(opened, { schema: dyingSchema(opened.schema) });
    },
  });
}

const data = createDataMove([
  expand({ name: 'main', in: dying(postgres(address)), tables: { people: PEOPLE }, chunkRows: 300 }),
]);
await data.installEpoch(ctx);
if (what === 'make') {
  await data.prepare(ctx);
  await data.copy(ctx);
  const verdicts = await data.verify(ctx, 'forward', 'full');
  if (verdicts.some(({ outcome }) => outcome !== 'PASS')) throw new Error(JSON.stringify(verdicts));
} else await data.uninstall(ctx, { emptyTarget: what === 'undo' });
await data.close();
console.log('done');
