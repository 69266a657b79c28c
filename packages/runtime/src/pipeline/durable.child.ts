/** Accepts items into a durable pipeline until it is killed: `durable.child.ts FILE RESULTS FIRST`. */
import { setTimeout as sleep } from 'node:timers/promises';
import { pino } from 'pino';
import { pipeline } from './pipeline.ts';
import { SpillFile } from './spill-file.ts';

const [file = '', results = '', first = '0'] = process.argv.slice(2);
const stored = new SpillFile(results);
const line = pipeline<number>('line')
  .stage('think', { work: async (id) => (await sleep(2), id) })
  .stage('record', {
    work: (id) => {
      stored.add(id);
    },
  })
  .build({ durable: file, log: pino({ level: 'silent' }) });
line.start();
for (let id = Number(first); ; id++) {
  await line.push(id);
  process.send?.(id);
}
