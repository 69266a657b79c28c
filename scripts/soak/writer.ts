/**
 * One of the writers of the soak: `node writer.ts <settings as JSON>`. It writes to the side that serves, keeps a ledger of what was acknowledged, and
 * ends with SIGTERM. It may be killed at any moment and started again with the same settings.
 */
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { TestDatabase } from '../../packages/changeover/src/testing/databases.ts';
import { Acts } from './acts.ts';
import { engineNamed, type Engine } from './engines.ts';
import { Ledger, readLedger, take, type Known } from './ledger.ts';
import { Random } from './random.ts';
import { readSide, type SoakSettings } from './settings.ts';

const RETRY_MS = 20;
/** What a writer may meet without anybody being at fault: the fence, another writer, a server that was killed. */
const EXPECTED =
  /does not accept writes|database is locked|deadlock|lock wait timeout|could not serialize|terminat|ECONN|not queryable|starting up|shut ?down|recovery mode|not yet accepting|connection (lost|was killed)|closed state|EPIPE|auto-increment value/i;

const settings = JSON.parse(process.argv[2] ?? '') as SoakSettings & { readonly writer: number; readonly seed: number };
const { folder, writer } = settings;
const file = path.join(folder, `ledger-${writer}.jsonl`);
const random = new Random(settings.seed);
const ledger = new Ledger(file);
let known: Known = readLedger(file);
let seq = known.open?.seq ?? known.seq;
let connected: { db: TestDatabase; engine: Engine; side: string } | null = null;

const ending = new AbortController();
process.once('SIGTERM', () => {
  ending.abort();
});

/** A connection to the side that serves now. */
async function connection(): Promise<{ db: TestDatabase; engine: Engine }> {
  const side = readSide(folder);
  if (connected?.side === side) return connected;
  await disconnect();
  const engine = engineNamed(settings[side].engine);
  connected = { db: await engine.connect(settings[side].address), engine, side };
  return connected;
}

async function disconnect(): Promise<void> {
  const left = connected;
  connected = null;
  // A connection that is broken cannot be ended properly, and need not be.
  await left?.db.close().catch(() => undefined);
}

/** Nobody answered the last COMMIT: the row that every transaction of this writer changes says whether it was done. */
async function settle(open: NonNullable<Known['open']>): Promise<void> {
  const { db, engine } = await connection();
  await db.exec(engine.begin);
  const [head] = await db.all(`SELECT seq FROM heads WHERE writer = ${writer} ${engine.forUpdate}`);
  await db.exec('ROLLBACK');
  if (Number(head?.['seq']) === open.seq) acknowledged(open);
  else {
    ledger.forget(open.seq);
    known = { ...known, open: null };
  }
}

function acknowledged(open: NonNullable<Known['open']>): void {
  ledger.acknowledge(open.seq);
  take(known, open.effects);
  known = { ...known, open: null, seq: open.seq, acknowledged: known.acknowledged + 1 };
}

async function write(): Promise<void> {
  if (known.open !== null) await settle(known.open);
  const { db, engine } = await connection();
  seq += 1;
  await db.exec(engine.begin);
  try {
    await db.exec(`UPDATE heads SET seq = ${seq} WHERE writer = ${writer}`);
    const acts = new Acts(db, engine, random, { writer, seq }, known);
    await acts.play();
    if (random.chance(0.02)) await sleep(random.between(20, 150));
    if (random.chance(0.1)) {
      await db.exec('ROLLBACK');
      return;
    }
    ledger.intend(seq, acts.effects);
    known = { ...known, open: { seq, effects: acts.effects } };
    await db.exec('COMMIT');
    acknowledged({ seq, effects: acts.effects });
  } catch (error) {
    await db.exec('ROLLBACK').catch(() => disconnect());
    throw error;
  }
}

console.log('writing');
while (!ending.signal.aborted) {
  try {
    await write();
    await sleep(random.between(1, 8));
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    if (!EXPECTED.test(message)) console.log(`unexpected: ${message}`);
    if (!/database is locked|deadlock|lock wait timeout|does not accept/i.test(message)) await disconnect();
    await sleep(RETRY_MS);
  }
}
await disconnect();
ledger.close();
