/**
 * A client that reads and writes notes all the time and remembers what it was promised:
 * `node client.ts --url http://127.0.0.1:5000 --ledger client.ledger [--lanes 8] [--rate 200] [--seconds 10] …`
 *
 * It prints `writing` after its first acknowledged write. On SIGTERM, or after `--seconds`, it finishes the requests under way
 * and prints its `ClientSummary` as one line of JSON.
 */
import { parseArgs } from 'node:util';
import { setTimeout as sleep } from 'node:timers/promises';
import { isAcknowledged, isUnknown } from './compare.ts';
import { noteOf, pictureOf, versionOf } from './content.ts';
import { Ledger, type Operation } from './ledger.ts';
import type { Note } from './note.ts';
import { Connection } from './connection.ts';
import { Tally } from './tally.ts';

const { values } = parseArgs({
  options: {
    url: { type: 'string' },
    ledger: { type: 'string' },
    /** Requests at a time, each lane on a connection of its own. */
    lanes: { type: 'string', default: '8' },
    /** Requests per second, all lanes together; 0 sends as fast as answers come. */
    rate: { type: 'string', default: '0' },
    /** 0 goes on until SIGTERM. */
    seconds: { type: 'string', default: '0' },
    /** Which writes, besides creations: any of update, delete, slow. */
    operations: { type: 'string', default: 'update,delete' },
    tags: { type: 'boolean', default: false },
    pictures: { type: 'boolean', default: false },
    /** Share of requests that only read. */
    reads: { type: 'string', default: '0.4' },
    timeout: { type: 'string', default: '30000' },
  },
});
if (values.url === undefined || values.ledger === undefined) throw new Error('--url and --ledger are needed');

const { tags, pictures } = values;
const rate = Number(values.rate);
const readShare = Number(values.reads);
const timeoutMs = Number(values.timeout);
const optional = values.operations.split(',').filter((name) => name !== '') as Operation[];
for (const name of optional)
  if (!['update', 'delete', 'slow'].includes(name)) throw new Error(`--operations: unknown operation ${name}`);
const url = new URL(values.url);
const ledger = await Ledger.create(values.ledger, { tags, pictures });
const tally = new Tally();

const KEPT_TOKENS = 50;
const FAILURE_PAUSE_MS = 20;
const SLOW_MS = 150;
const prefix = `${process.pid.toString(36)}-${Date.now().toString(36)}`;
const stopping = new AbortController();
const startedAt = performance.now();
let slots = 0;

/** Waits for the next request's turn. How many ms too late it comes, as latency counts from when it was due; null at the end. */
async function turn(): Promise<number | null> {
  const at = rate === 0 ? performance.now() : startedAt + (slots++ * 1000) / rate;
  const waitMs = at - performance.now();
  if (waitMs > 1) await sleep(waitMs, undefined, { signal: stopping.signal }).catch(ignoreAbort);
  return stopping.signal.aborted ? null : Math.max(0, performance.now() - at);
}

function ignoreAbort(error: unknown): void {
  if (!stopping.signal.aborted) throw error;
}

async function lane(number: number): Promise<void> {
  const connection = new Connection(url, timeoutMs);
  const mine = new Map<string, number>();
  let created = 0;

  /** One write with its ledger lines. True when it was acknowledged, false when it was refused, null when nobody knows. */
  const write = async (
    operation: Operation,
    token: string,
    version: number,
    lateMs: number,
    isRepeat = false,
  ): Promise<boolean | null> => {
    const intent = await ledger.intent(operation, token, version);
    const answer = await connection.send(...requestOf(operation, noteOf(token, version, tags)));
    const { status } = answer;
    if (status === null) await ledger.cut(intent, answer.error);
    else await ledger.ack(intent, status);
    tally.write(operation, token, answer, lateMs, isRepeat);
    return isUnknown(status) ? null : isAcknowledged(status);
  };

  const create = async (operation: 'create' | 'slow', lateMs: number) => {
    const token = `${prefix}-${number}-${created++}`;
    const done = await write(operation, token, 1, lateMs);
    if (done === true && operation === 'create') {
      mine.set(token, 1);
      // Old tokens are left to the comparison, so that reading stays spread over few.
      for (const [old] of mine) if (mine.size > KEPT_TOKENS) mine.delete(old);
    }
    // A creation may be repeated, as its token makes it idempotent; every other write may still be under way somewhere.
    // Its token is then left alone: an old request that lands late would undo a newer one, and look like the move's fault.
    let again = done === null && operation === 'create';
    while (again && !stopping.signal.aborted) {
      await sleep(FAILURE_PAUSE_MS);
      again = (await write('create', token, 1, 0, true)) === null;
    }
  };

  const change = async (operation: 'update' | 'delete', token: string, version: number, lateMs: number) => {
    const done = await write(operation, token, version, lateMs);
    if (operation === 'update' && done === true) mine.set(token, version);
    else mine.delete(token);
  };

  const read = async (token: string, version: number, lateMs: number) => {
    const answer = await connection.send('GET', `/notes/${token}`);
    const isStale =
      answer.status === 404 || (answer.status === 200 && versionOf(answer.json as Note, tags) !== version);
    tally.read(token, answer, lateMs, isStale);
  };

  for (let lateMs = await turn(); lateMs !== null; lateMs = await turn()) {
    const failedBefore = tally.failed;
    const [token, version] = pick([...mine]) ?? [];
    if (token === undefined || version === undefined) await create('create', lateMs);
    else if (Math.random() < readShare) await read(token, version, lateMs);
    else {
      const operation = pick(['create', ...optional] as const) ?? 'create';
      if (operation === 'create' || operation === 'slow') await create(operation, lateMs);
      else await change(operation, token, version + 1, lateMs);
    }
    if (tally.failed > failedBefore) await sleep(FAILURE_PAUSE_MS);
  }
  connection.close();
}

function requestOf(operation: Operation, note: Note): [method: string, path: string, body?: unknown] {
  const picture = pictures ? { picture: Buffer.from(pictureOf(note.token)).toString('base64') } : {};
  switch (operation) {
    case 'create':
      return ['POST', '/notes', { ...note, ...picture }];
    case 'slow':
      return ['POST', '/slow', { ...note, ...picture, ms: SLOW_MS }];
    case 'update':
      return ['PUT', `/notes/${note.token}`, note];
    case 'delete':
      return ['DELETE', `/notes/${note.token}`];
  }
}

function pick<Item>(items: readonly Item[]): Item | undefined {
  return items[Math.floor(Math.random() * items.length)];
}

process.once('SIGTERM', () => {
  stopping.abort();
});
if (values.seconds !== '0') setTimeout(() => stopping.abort(), Number(values.seconds) * 1000);
tally.onFirstWrite = () => {
  console.log('writing');
};

await Promise.all(Array.from({ length: Number(values.lanes) }, (_, number) => lane(number)));
await ledger.close();
console.log(JSON.stringify(tally.summary((performance.now() - startedAt) / 1000)));
process.exit(0);
