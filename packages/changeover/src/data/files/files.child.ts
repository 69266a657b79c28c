/** A process that tests kill: `node files.child.ts <folder> <crash point or -> <pass> <copy|forward|reverse>`. */
import { killAt, testContext } from '../../testing/context.ts';
import { FilesSync } from './files-sync.ts';

const [folder = '', point = '-', pass = '1', what = 'copy'] = process.argv.slice(2);
const ctx = testContext(folder, point === '-' ? {} : { faults: killAt(point, Number(pass)) });
const sync = new FilesSync({ kind: 'files', name: 'faces', from: 'old', to: 'new', only: null, spec: null });
await sync.prepare(ctx);
if (what === 'copy') await sync.copy(ctx);
else await sync.applyToEmpty(ctx, what === 'reverse' ? 'reverse' : 'forward');
await sync.close();
