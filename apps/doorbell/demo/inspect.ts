import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { parsePythonLiteral, readPickle } from 'changeover/python';
import pg from 'pg';
import type { Write } from './ledger.ts';

/** What one side holds, read straight from its stores and not through any API of it. */
export interface Contents {
  /** Display names of known people, one per stored encoding. */
  readonly names: readonly string[];
  /** File name of a capture to the SHA-256 of its bytes. */
  readonly captures: ReadonlyMap<string, string>;
  /** Times of the events, in ms since the epoch. */
  readonly eventTimesMs: readonly number[];
}

export interface Comparison {
  readonly writes: number;
  readonly missing: readonly Write[];
  readonly duplicated: readonly Write[];
}

/** Reads the legacy's own files: the pickle of encodings, the captures and the event log. */
export function inspectLegacy(root: string): Contents {
  const cache = readPickle(readFileSync(path.join(root, 'data/known_faces_cache.pkl')));
  const lines = readFileSync(path.join(root, 'data/logs/events.log'), 'utf8').split('\n');
  return {
    names: stringsIn(cache, 'names'),
    captures: hashFolder(path.join(root, 'data/captures')),
    eventTimesMs: lines.flatMap((line) => {
      const time = /'timestamp': '([^']+)'/.exec(line)?.[1];
      return time === undefined || !isLiteral(line) ? [] : [new Date(time).getTime()];
    }),
  };
}

/** Reads the new side's database and folder of captures. */
export async function inspectNext(root: string, databaseUrl: string | null): Promise<Contents> {
  const names =
    'SELECT p.person_name AS name FROM face_encodings e JOIN persons p ON p.person_id = e.person_id WHERE p.is_blacklisted = 0';
  const events = 'SELECT "timestamp" AS time FROM events';
  const captures = hashFolder(path.join(root, 'data/captures'));
  if (databaseUrl !== null) {
    const client = new pg.Client(databaseUrl);
    await client.connect();
    try {
      const people = await client.query<{ name: string }>(names);
      const times = await client.query<{ time: number }>(events);
      return {
        names: people.rows.map(({ name }) => name),
        captures,
        eventTimesMs: times.rows.map(({ time }) => time * 1000),
      };
    } finally {
      await client.end();
    }
  }
  const database = new DatabaseSync(path.join(root, 'data/pipeline.db'), { readOnly: true, timeout: 5000 });
  try {
    return {
      names: database
        .prepare(names)
        .all()
        .map(({ name }) => String(name)),
      captures,
      eventTimesMs: database
        .prepare(events)
        .all()
        .map(({ time }) => Number(time) * 1000),
    };
  } finally {
    database.close();
  }
}

/** Holds a ledger against what a side really has: everything acknowledged is there, each once, and nothing deleted is there again. */
export function compare(writes: readonly Write[], contents: Contents): Comparison {
  const deleted = new Set(writes.flatMap((write) => (write.kind === 'delete' ? [write.name] : [])));
  // Presses are far apart and one at a time, so the event of each lies between it and the next one.
  const pressesMs = writes.flatMap((write) => (write.kind === 'press' ? [write.atMs] : []));
  const missing: Write[] = [];
  const duplicated: Write[] = [];
  for (const write of writes) {
    const found = countOf(write, contents, pressesMs);
    const expected = write.kind === 'delete' || (write.kind === 'person' && deleted.has(write.name)) ? 0 : 1;
    if (found < expected) missing.push(write);
    if (found > expected) duplicated.push(write);
  }
  return { writes: writes.length, missing, duplicated };
}

function countOf(write: Write, contents: Contents, pressesMs: readonly number[]): number {
  switch (write.kind) {
    case 'person':
    case 'delete':
      return contents.names.filter((name) => name === write.name).length;
    case 'capture':
      return contents.captures.get(write.filename) === write.sha256 ? 1 : 0;
    case 'press': {
      const nextMs = pressesMs.find((time) => time > write.atMs) ?? Infinity;
      return contents.eventTimesMs.filter((time) => time >= write.atMs && time < nextMs).length;
    }
    default:
      return write satisfies never;
  }
}

function hashFolder(folder: string): Map<string, string> {
  return new Map(
    readdirSync(folder).map((name) => [
      name,
      createHash('sha256')
        .update(readFileSync(path.join(folder, name)))
        .digest('hex'),
    ]),
  );
}

function isLiteral(line: string): boolean {
  try {
    parsePythonLiteral(line);
    return true;
  } catch {
    return false;
  }
}

function stringsIn(cache: unknown, key: string): string[] {
  const list = cache instanceof Map ? (cache.get(key) as unknown) : undefined;
  if (!Array.isArray(list)) throw new Error(`the cache of encodings has no list '${key}'`);
  return list.map(String);
}
