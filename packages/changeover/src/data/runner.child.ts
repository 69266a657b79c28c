/**
 * A runner that tests kill: `node runner.child.ts <folder> <legacy> <next> <forward|reverse|uninstall> <epoch> <crash point or -> [stop]`. It does what the engine
 * does: takes the stores over, goes back to where the decision was not made, and then goes through to the other side.
 */
import { existsSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { killAt, stopAt, testContext } from '../testing/context.ts';
import { createDataMove, sync } from './move.ts';
import { mariadb } from './stores/mariadb/index.ts';
import { postgres } from './stores/postgres/index.ts';
import { sqlite } from './stores/sqlite/index.ts';

const [folder = '', legacy = '', next = '', direction, epoch = '1', point = '-', signal] = process.argv.slice(2);
const faults = signal === 'stop' ? stopAt : killAt;
const ctx = testContext(folder, { epoch: Number(epoch), ...(point === '-' ? {} : { faults: faults(point) }) });
const store = (address: string) => {
  if (address.startsWith('mariadb:')) return mariadb(address);
  return address.startsWith('postgres:') ? postgres(address) : sqlite(address);
};
const data = createDataMove([
  sync({ name: 'main', from: store(legacy), to: store(next), tables: { events: {} }, chunkRows: 25 }),
]);
const way = direction === 'reverse' ? 'reverse' : 'forward';
const decided = path.join(folder, `decided-${way}`);
const [from, to] = way === 'forward' ? (['legacy', 'next'] as const) : (['next', 'legacy'] as const);

await data.installEpoch(ctx);
if (direction === 'uninstall') await data.uninstall(ctx, { emptyTarget: true });
else if (!existsSync(decided)) {
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
  if (verdicts.some(({ outcome }) => outcome !== 'PASS')) throw new Error(JSON.stringify(verdicts));
  await locked.sequences();
  await locked.fence();
  writeFileSync(decided, '');
}
if (direction !== 'uninstall') await data.unfence(ctx, to);
await data.close();
console.log('done');
