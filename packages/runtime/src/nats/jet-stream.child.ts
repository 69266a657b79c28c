/** Takes from the queue until it is told to stop: `jet-stream.child.ts ADDRESS STREAM WORKERS MILLISECONDS-PER-ITEM`. It sends what it begins and ends. */
import { setTimeout as sleep } from 'node:timers/promises';
import { pino } from 'pino';
import { pipeline } from '../pipeline/pipeline.ts';
import { jetStreamQueue } from './jet-stream-queue.ts';

const [servers = '', stream = '', workers = '1', workMs = '0'] = process.argv.slice(2);
const line = pipeline<number>('line')
  .stage('work', {
    queue: jetStreamQueue({ connection: { servers }, stream, ackWaitMs: 600, deliveries: 3 }),
    workers: Number(workers),
    work: async (id) => {
      process.send?.({ began: id });
      if (id < 0) process.kill(process.pid, 'SIGKILL');
      await sleep(Number(workMs));
      process.send?.({ ended: id });
    },
  })
  .build({ log: pino({ level: 'silent' }) });
line.start();
process.once('message', () => {
  void line.stop().then(() => {
    process.disconnect();
  });
});
