/** A process that tests kill: `node document.child.ts <folder> <crash point or -> <pass> <rows as JSON>` replaces the two pickles. */
import type { Row } from '../../../plan/stores.ts';
import { killAt, testContext } from '../../../testing/context.ts';
import { faces } from './document.fixture.ts';

const [folder = '', point = '-', pass = '1', json = '[]'] = process.argv.slice(2);
const ctx = testContext(folder, point === '-' ? {} : { faults: killAt(point, Number(pass)) });
const store = await faces().open(ctx, 'legacy');
await store.replace?.({ faces: JSON.parse(json) as Row[] }, 1);
await store.close();
