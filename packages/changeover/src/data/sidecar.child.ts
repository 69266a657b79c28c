/** A process of many that open the same sidecar at once: `node sidecar.child.ts <folder> <name>` enters ten rows into the ledger. */
import { testContext } from '../testing/context.ts';
import { Sidecar } from './sidecar.ts';

const [folder = '', run = ''] = process.argv.slice(2);
const sidecar = Sidecar.open(testContext(folder), 'store');
for (let seq = 0; seq < 10; seq += 1) {
  sidecar.gated(1, () => {
    sidecar.enterIntoLedger({ run, sync: 's', table: 't', seq, lastKey: null, rows: 1, hash: 'h', complete: false });
  });
}
sidecar.close();
