/**
 * An open-loop load for the bench of the hold: so many requests a second are due whatever the answers do, and latency counts from when a
 * request was due. `node hold-load.ts URL RATE` runs until SIGTERM and then prints its samples as one line of JSON.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { Agent, request } from 'undici';

/** One request: when it was due (ms since the epoch), how long its answer took, and whether it was right. */
export type Sample = readonly [dueMs: number, latencyMs: number, ok: 0 | 1];

const [url = '', rate = '1000'] = process.argv.slice(2);
const WRITE_EVERY = 20;
const CONNECTIONS = 64;
const MAX_SECONDS = 120;

const agent = new Agent({ connections: CONNECTIONS, pipelining: 1 });
const samples: Sample[] = [];
const pending = new Set<Promise<void>>();
const stopping = new AbortController();

async function send(number: number, dueMs: number): Promise<void> {
  const isWrite = number % WRITE_EVERY === 0;
  let ok: boolean;
  try {
    const { statusCode, body } = isWrite
      ? await request(`${url}/notes`, {
          dispatcher: agent,
          method: 'POST',
          headers: { 'content-type': 'application/json' },
          body: JSON.stringify({ token: `load-${process.pid}-${number}`, body: 'load', tags: [], picture: '' }),
        })
      : await request(`${url}/notes/seed-${number % 100}`, { dispatcher: agent });
    await body.dump();
    ok = statusCode < 300;
  } catch {
    // Counted as failed: the bench reports how many.
    ok = false;
  }
  samples.push([dueMs, performance.timeOrigin + performance.now() - dueMs, ok ? 1 : 0]);
}

process.once('SIGTERM', () => {
  stopping.abort();
});

const startMs = performance.timeOrigin + performance.now();
for (let number = 0; !stopping.signal.aborted && number < Number(rate) * MAX_SECONDS; number++) {
  const dueMs = startMs + (number * 1000) / Number(rate);
  const waitMs = dueMs - (performance.timeOrigin + performance.now());
  if (waitMs > 1) await sleep(waitMs);
  const sending = send(number, dueMs).finally(() => pending.delete(sending));
  pending.add(sending);
  if (number === 0) console.log('loading');
}
await Promise.all(pending);
// A pipe takes this much in several turns; an exit in between would cut it off.
process.stdout.write(`${JSON.stringify(samples)}\n`, () => process.exit(0));
