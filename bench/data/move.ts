/**
 * One move, in a process of its own, so that its memory is that of the move: `node move.ts FOLDER FROM TO`. Prints a line of JSON with the
 * milliseconds of each part and the peak of the memory.
 */
import { createDataMove, sync } from '../../packages/changeover/src/data/move.ts';
import { mariadb } from '../../packages/changeover/src/data/stores/mariadb/index.ts';
import { postgres } from '../../packages/changeover/src/data/stores/postgres/index.ts';
import { sqlite } from '../../packages/changeover/src/data/stores/sqlite/index.ts';
import { testContext } from '../../packages/changeover/src/testing/context.ts';

const [folder = '', from = '', to = ''] = process.argv.slice(2);
const ctx = testContext(folder);
const store = (address: string) => {
  if (address.startsWith('postgres:')) return postgres(address);
  return address.startsWith('mariadb:') ? mariadb(address) : sqlite(address);
};
const data = createDataMove([sync({ name: 'main', from: store(from), to: store(to), tables: { events: {} } })]);

const started = performance.now();
await data.prepare(ctx);
await data.copy(ctx);
const copied = performance.now();
const [verdict] = await data.verify(ctx, 'forward', 'full');
const verified = performance.now();
// The peer takes everything that it finds in the source.
await data.uninstall(ctx, { emptyTarget: false });
await data.close();
if (verdict?.outcome !== 'PASS') throw new Error(`not equal: ${verdict?.evidence ?? 'no verdict'}`);
console.log(
  JSON.stringify({
    totalMs: verified - started,
    copyMs: copied - started,
    verifyMs: verified - copied,
    rows: verdict.measured,
    // The peak of the whole process, threads included, in kB.
    memoryMb: process.resourceUsage().maxRSS / 1024,
  }),
);
