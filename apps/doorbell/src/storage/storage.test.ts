import { once } from 'node:events';
import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as sleep } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { startPostgres, tempFolder, type ThrowawayPostgres } from 'changeover/testing';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { TABLES } from '../schema.ts';
import { PostgresStorage } from './postgres.ts';
import { SqliteStorage } from './sqlite.ts';
import { type NewEvent, type NewNotification, type Storage, StoreRefused } from './storage.ts';

const temp = await tempFolder('doorbell-storage-');
const file = path.join(temp.path, 'data/pipeline.db');
let postgres: ThrowawayPostgres;

/** Another process's way into the same database: statements of its own, one after the other. */
interface Neighbour {
  run(sql: string): Promise<unknown[][]>;
  close(): Promise<void>;
}

interface Subject {
  open(): Storage;
  neighbour(): Promise<Neighbour>;
  fence: readonly string[];
  unfence: readonly string[];
}

const subjects: Readonly<Record<'sqlite' | 'postgres', Subject>> = {
  sqlite: {
    open: () => new SqliteStorage(file),
    neighbour: async () => {
      await mkdir(path.dirname(file), { recursive: true });
      const db = new DatabaseSync(file, { timeout: 5000 });
      return {
        run: (sql) =>
          Promise.resolve(
            db
              .prepare(sql)
              .all()
              .map((row) => Object.values(row)),
          ),
        close: () => {
          db.close();
          return Promise.resolve();
        },
      };
    },
    fence: ['events', 'persons', 'face_encodings', 'notifications'].map(
      (table) => `CREATE TRIGGER fence_${table} BEFORE INSERT ON ${table} BEGIN SELECT RAISE(ABORT, 'fenced'); END`,
    ),
    unfence: ['events', 'persons', 'face_encodings', 'notifications'].map((table) => `DROP TRIGGER fence_${table}`),
  },
  postgres: {
    open: () => new PostgresStorage(postgres.url),
    neighbour: async () => {
      const client = new pg.Client(postgres.url);
      await client.connect();
      return {
        run: async (sql) => (await client.query<unknown[]>({ text: sql, rowMode: 'array' })).rows,
        close: () => client.end(),
      };
    },
    fence: [
      "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'fenced' USING ERRCODE = 'read_only_sql_transaction'; END $$",
      ...['events', 'persons', 'face_encodings', 'notifications'].map(
        (table) => `CREATE TRIGGER fence BEFORE INSERT ON ${table} FOR EACH ROW EXECUTE FUNCTION refuse()`,
      ),
    ],
    unfence: ['DROP FUNCTION refuse CASCADE'],
  },
};

beforeAll(async () => {
  postgres = await startPostgres();
}, 60_000);
afterAll(async () => {
  await postgres.stop();
  await temp.remove();
});

const visit = (eventId: string, type = 'FACE_UNKNOWN'): NewEvent => ({
  eventId,
  type,
  timestamp: 1_795_258_649.828_831,
  source: 'doorbell',
  priority: 'HIGH',
  confidence: 0.1 + 0.2,
  correlationId: null,
  data: '{"faces":[]}',
});

const message = (alertId: string): NewNotification => ({
  alertId,
  type: 'test_notification',
  priority: 'info',
  status: 'pending',
  timestamp: '2026-11-21T10:57:26.963Z',
  content: '{}',
  metadata: { attempts: 0, capture: null },
});

const encoding = Array.from({ length: 128 }, (_, index) => Math.fround(Math.sin(index)) + Number.EPSILON);
const ann = { personId: 'known:Ann', name: 'Ann', isBlacklisted: false };

describe.each(['sqlite', 'postgres'] as const)('%s', (name) => {
  const subject = subjects[name];
  let storage: Storage;
  let neighbour: Neighbour;

  beforeAll(async () => {
    storage = subject.open();
    neighbour = await subject.neighbour();
  });
  afterAll(async () => {
    await storage.close();
    await neighbour.close();
  });

  test('is not ready before its tables are there, and migrating twice changes nothing', async () => {
    await expect(storage.ping()).rejects.toThrow(/migrate/);
    await storage.migrate();
    await storage.ping();
    await storage.addNotification(message('kept'));
    await storage.migrate();
    const other = subject.open();
    await Promise.all([other.migrate(), storage.migrate()]);
    await other.close();
    expect(await storage.notifications('pending', 10)).toHaveLength(1);
    for (const table of TABLES) expect(await neighbour.run(`SELECT count(*) FROM ${table}`)).toHaveLength(1);
  });

  test('keeps encodings exactly and in the order in which they came', async () => {
    await storage.addEncoding(ann, encoding, 1.5);
    await storage.addEncoding({ personId: 'blacklist:Ann', name: 'Ann', isBlacklisted: true }, [1, 2], 2.5);
    await storage.addEncoding(ann, [3], 3.5);
    expect(await storage.encodings()).toEqual([
      { ...ann, encoding },
      { personId: 'blacklist:Ann', name: 'Ann', isBlacklisted: true, encoding: [1, 2] },
      { ...ann, encoding: [3] },
    ]);
  });

  test('lists people once for each encoding', async () => {
    expect(await storage.people()).toEqual([ann, { personId: 'blacklist:Ann', name: 'Ann', isBlacklisted: true }, ann]);
  });

  test('sees at once what another process writes', async () => {
    await neighbour.run("DELETE FROM face_encodings WHERE encoding_data = '[3]'");
    expect(await storage.encodings()).toHaveLength(2);
    await neighbour.run("UPDATE persons SET person_name = 'Anne' WHERE person_id = 'known:Ann'");
    expect((await storage.encodings())[0]?.name).toBe('Anne');
  });

  test('tells that people or encodings were written, by whichever process, and nothing where they were not', async () => {
    let last = await storage.encodingsVersion();
    expect(await storage.encodingsVersion()).toBe(last);
    const writes = [
      () => neighbour.run("UPDATE persons SET person_name = 'Anna' WHERE person_id = 'known:Ann'"),
      () => neighbour.run("UPDATE persons SET person_name = 'Anne' WHERE person_id = 'known:Ann'"),
      () => neighbour.run("UPDATE face_encodings SET encoding_data = '[1, 3]' WHERE encoding_data = '[1,2]'"),
      () => neighbour.run("INSERT INTO persons (person_id) VALUES ('known:new')"),
      () => neighbour.run("DELETE FROM persons WHERE person_id = 'known:new'"),
      () => storage.addEncoding({ personId: 'known:Bob', name: 'Bob', isBlacklisted: false }, [4], 4.5),
      () => storage.removePerson('known:Bob'),
    ];
    for (const [index, write] of writes.entries()) {
      await write();
      const version = await storage.encodingsVersion();
      expect([index, version === last]).toEqual([index, false]);
      last = version;
    }
  });

  test('removes a person with all encodings, and nobody else', async () => {
    expect(await storage.removePerson('known:Ann')).toBe(true);
    expect(await storage.removePerson('known:Ann')).toBe(false);
    expect((await storage.encodings()).map(({ personId }) => personId)).toEqual(['blacklist:Ann']);
  });

  test('stores an event with its counts and messages once, also when it is told twice', async () => {
    const recognition = { known: 0, unknown: 2, blacklisted: 1, seconds: 0.25, data: '[]' };
    for (let told = 0; told < 2; told++)
      await storage.addEvent(visit('e1'), recognition, [message('a1'), message('a2')]);
    await storage.addEvent(visit('e2', 'SOMETHING_ELSE'), null, []);
    await storage.addEvent(visit('e3'), null, []);
    expect(
      await neighbour.run('SELECT event_id, recognition_count, unknown_count FROM face_recognition_events'),
    ).toEqual([['e1', ...[3, 2].map((count) => (name === 'postgres' ? String(count) : count))]]);
    const recent = await storage.recentEvents(['FACE_UNKNOWN'], 10);
    expect(recent).toHaveLength(2);
    expect(recent[0]).toEqual({ type: 'FACE_UNKNOWN', timestamp: 1_795_258_649.828_831, data: '{"faces":[]}' });
    expect(await neighbour.run("SELECT confidence FROM events WHERE event_id = 'e1'")).toEqual([[0.1 + 0.2]]);
    expect(await storage.recentEvents(['FACE_UNKNOWN'], 1)).toHaveLength(1);
  });

  test('pages through events of one instant, each once', async () => {
    const [newest, ...none] = await storage.eventsBefore(['FACE_UNKNOWN'], 1, null);
    expect([newest?.type, none]).toEqual(['FACE_UNKNOWN', []]);
    const [older] = await storage.eventsBefore(['FACE_UNKNOWN'], 1, newest ?? null);
    expect(older).toEqual({ ...newest, id: expect.any(Number) as number });
    expect(older?.id).toBeLessThan(newest?.id ?? 0);
    expect(await storage.eventsBefore(['FACE_UNKNOWN'], 1, older ?? null)).toEqual([]);
  });

  test('moves a message from pending to delivered', async () => {
    await storage.updateNotification('a1', 'delivered', { attempts: 1, capture: 'x.jpg' });
    const pending = (await storage.notifications('pending', 10)).map(({ alertId }) => alertId);
    expect(pending).toEqual(['kept', 'a2']);
    expect(await storage.notifications('delivered', 10)).toEqual([
      { ...message('a1'), status: 'delivered', metadata: { attempts: 1, capture: 'x.jpg' } },
    ]);
  });

  test('tells a fence from other failures, and writes again as soon as it is gone', async () => {
    await storage.assertWritable();
    for (const statement of subject.fence) await neighbour.run(statement);
    await expect(storage.assertWritable()).rejects.toThrow(StoreRefused);
    await expect(storage.addEvent(visit('late'), null, [])).rejects.toThrow(StoreRefused);
    await expect(storage.addEncoding(ann, [1], 0)).rejects.toThrow(StoreRefused);
    await expect(storage.addNotification(message('late'))).rejects.toThrow(StoreRefused);
    expect(await storage.encodings()).toHaveLength(1);
    await storage.migrate();
    for (const statement of subject.unfence) await neighbour.run(statement);
    await storage.assertWritable();
    await storage.addEvent(visit('late'), null, []);
    expect(await neighbour.run("SELECT count(*) FROM events WHERE event_id IN ('probe', 'late')")).toEqual([
      [name === 'postgres' ? '1' : 1],
    ]);
    await expect(storage.addNotification(message('kept'))).rejects.not.toThrow(StoreRefused);
  });

  test('numbers go on after the highest, whatever was probed', async () => {
    await neighbour.run(
      "INSERT INTO events (id, event_id, event_type, timestamp) VALUES (5000, 'far', 'FACE_UNKNOWN', 0)",
    );
    if (name === 'postgres') await neighbour.run("SELECT setval(pg_get_serial_sequence('events', 'id'), 5000)");
    await storage.assertWritable();
    await storage.addEvent(visit('after'), null, []);
    expect((await neighbour.run("SELECT id FROM events WHERE event_id = 'after'")).map(([id]) => Number(id))).toEqual([
      5001,
    ]);
  });
});

test('a write to SQLite waits for another writer', async () => {
  const storage = new SqliteStorage(file);
  const child = new Worker(
    `const { DatabaseSync } = require('node:sqlite');
     const db = new DatabaseSync(${JSON.stringify(file)});
     db.exec('BEGIN IMMEDIATE');
     require('node:worker_threads').parentPort.postMessage('locked');
     setTimeout(() => { db.exec('COMMIT'); db.close(); }, 400);`,
    { eval: true, execArgv: [] },
  );
  await once(child, 'message');
  const start = performance.now();
  await storage.addEvent(visit('waited'), null, []);
  expect(performance.now() - start).toBeGreaterThan(200);
  await storage.close();
});

test('a connection that Postgres ends is replaced', async () => {
  const storage = new PostgresStorage(postgres.url);
  await storage.ping();
  const client = new pg.Client(postgres.url);
  await client.connect();
  await client.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'doorbell'");
  await client.end();
  await sleep(100);
  await storage.ping();
  await storage.close();
});
