/** A process that tests kill: `node log.child.ts <folder> <crash point or -> <rows as JSON>` writes the rows to `events.log`. */
import type { Row } from '../../../plan/stores.ts';
import { killAt, testContext } from '../../../testing/context.ts';
import { log } from './log.ts';

const [folder = '', point = '-', json = '[]'] = process.argv.slice(2);
const ctx = testContext(folder, point === '-' ? {} : { faults: killAt(point) });
const store = await log('events.log', { format: 'python' }).open(ctx);
await store.write({ epoch: 1, changes: [{ table: 'lines', deletes: [], upserts: JSON.parse(json) as Row[] }] });
await store.close();
