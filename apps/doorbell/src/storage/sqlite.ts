import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { DatabaseSync, type SQLInputValue } from 'node:sqlite';
import { schemaFor, TABLES } from '../schema.ts';
import {
  type EncodingRow,
  type EventPosition,
  ENCODINGS_SQL,
  encodingWrites,
  eventWrites,
  type NewEvent,
  type NewNotification,
  type NewPerson,
  type NewRecognition,
  NOTIFICATIONS_SQL,
  type NotificationMetadata,
  type NotificationRow,
  type NotificationStatus,
  notificationWrite,
  PEOPLE_SQL,
  type PersonRow,
  type PlacedEvent,
  PROBE,
  type Storage,
  storedEncoding,
  type StoredEncoding,
  type StoredEvent,
  storedNotification,
  storedPerson,
  StoreRefused,
  type Write,
} from './storage.ts';

/** How long a write waits for another process that is writing. */
const BUSY_TIMEOUT_MS = 5000;
/** SQLITE_CONSTRAINT_TRIGGER: a trigger said no. */
const REFUSED_BY_TRIGGER = 1811;

/** Rows in one SQLite file. Every statement is prepared where it is used, because triggers come and go under it. */
export class SqliteStorage implements Storage {
  readonly kind = 'sqlite';
  readonly #db: DatabaseSync;
  /** Own writes of people and encodings. */
  #written = 0;

  constructor(file: string) {
    mkdirSync(path.dirname(file), { recursive: true });
    this.#db = new DatabaseSync(file, { timeout: BUSY_TIMEOUT_MS, enableForeignKeyConstraints: true });
    // Asked first: to change the mode of a file that already has it would need a lock that a writer may hold for long.
    if (this.#value('PRAGMA journal_mode') !== 'wal') this.#db.exec('PRAGMA journal_mode = WAL');
    this.#db.exec('PRAGMA synchronous = FULL');
  }

  migrate(): Promise<void> {
    return this.#run(() => {
      if (this.#isComplete()) return;
      this.#transaction(() => {
        for (const statement of schemaFor('sqlite')) this.#db.exec(statement);
      });
    });
  }

  ping(): Promise<void> {
    return this.#run(() => {
      if (!this.#isComplete()) throw new Error('tables are missing: run src/migrate.ts');
    });
  }

  assertWritable(): Promise<void> {
    return this.#run(() => {
      this.#transaction(() => {
        this.#write([PROBE]);
      }, 'ROLLBACK');
    });
  }

  people(): Promise<NewPerson[]> {
    return this.#run(() => (this.#db.prepare(PEOPLE_SQL).all() as unknown as PersonRow[]).map(storedPerson));
  }

  encodings(): Promise<StoredEncoding[]> {
    return this.#run(() => (this.#db.prepare(ENCODINGS_SQL).all() as unknown as EncodingRow[]).map(storedEncoding));
  }

  encodingsVersion(): Promise<string> {
    // SQLite counts the transactions of all other connections, of whatever tables: it never misses one.
    return this.#run(() => `${String(this.#value('PRAGMA data_version'))}-${this.#written}`);
  }

  addEncoding(person: NewPerson, encoding: readonly number[], at: number): Promise<void> {
    return this.#run(() => {
      this.#written++;
      this.#transaction(() => this.#write(encodingWrites(person, encoding, at)));
    });
  }

  removePerson(personId: string): Promise<boolean> {
    return this.#run(() => {
      this.#written++;
      return this.#transaction(() => {
        this.#write([['DELETE FROM face_encodings WHERE person_id = ?', [personId]]]);
        return this.#write([['DELETE FROM persons WHERE person_id = ?', [personId]]]) > 0;
      });
    });
  }

  addEvent(
    event: NewEvent,
    recognition: NewRecognition | null,
    notifications: readonly NewNotification[],
  ): Promise<void> {
    return this.#run(() => {
      const [first, rest] = eventWrites(event, recognition, notifications);
      this.#transaction(() => {
        if (this.#write([first]) > 0) this.#write(rest);
      });
    });
  }

  recentEvents(types: readonly string[], limit: number): Promise<StoredEvent[]> {
    return this.#run(() => {
      const sql =
        'SELECT event_type AS type, timestamp, event_data AS data FROM events ' +
        `WHERE event_type IN (${types.map(() => '?').join(', ')}) ORDER BY timestamp DESC, id DESC LIMIT ?`;
      return (this.#db.prepare(sql).all(...types, limit) as unknown as StoredEvent[]).reverse();
    });
  }

  eventsBefore(types: readonly string[], limit: number, before: EventPosition | null): Promise<PlacedEvent[]> {
    return this.#run(() => {
      const older = before === null ? '' : 'AND (timestamp, id) < (?, ?) ';
      const sql =
        'SELECT id, event_type AS type, timestamp, event_data AS data FROM events ' +
        `WHERE event_type IN (${types.map(() => '?').join(', ')}) ${older}ORDER BY timestamp DESC, id DESC LIMIT ?`;
      const position = before === null ? [] : [before.timestamp, before.id];
      return this.#db.prepare(sql).all(...types, ...position, limit) as unknown as PlacedEvent[];
    });
  }

  addNotification(notification: NewNotification): Promise<void> {
    return this.#run(() => {
      this.#transaction(() => this.#write([notificationWrite(notification)]));
    });
  }

  notifications(status: NotificationStatus, limit: number): Promise<NewNotification[]> {
    return this.#run(() => {
      const rows = this.#db.prepare(`${NOTIFICATIONS_SQL} WHERE status = ? ORDER BY id LIMIT ?`).all(status, limit);
      return (rows as unknown as NotificationRow[]).map(storedNotification);
    });
  }

  updateNotification(alertId: string, status: NotificationStatus, metadata: NotificationMetadata): Promise<void> {
    const sql = 'UPDATE notifications SET status = ?, metadata = ? WHERE alert_id = ?';
    return this.#run(() => {
      this.#transaction(() => this.#write([[sql, [status, JSON.stringify(metadata), alertId]]]));
    });
  }

  close(): Promise<void> {
    return this.#run(() => {
      this.#db.close();
    });
  }

  #isComplete(): boolean {
    const names = this.#db.prepare("SELECT name FROM sqlite_schema WHERE type = 'table'").all();
    return TABLES.every((table) => names.some(({ name }) => name === table));
  }

  /** Number of rows that were changed. */
  #write(writes: readonly Write[]): number {
    return writes.reduce((sum, [sql, values]) => {
      return sum + Number(this.#db.prepare(sql).run(...(values as SQLInputValue[])).changes);
    }, 0);
  }

  /** IMMEDIATE: a transaction that begins to write later could fail instead of waiting. */
  #transaction<T>(body: () => T, end: 'COMMIT' | 'ROLLBACK' = 'COMMIT'): T {
    this.#db.exec('BEGIN IMMEDIATE');
    try {
      const result = body();
      this.#db.exec(end);
      return result;
    } catch (error) {
      if (this.#db.isTransaction) this.#db.exec('ROLLBACK');
      throw error;
    }
  }

  #value(sql: string): unknown {
    return Object.values(this.#db.prepare(sql).get() ?? {})[0];
  }

  // The port is asynchronous, so that a failure is a rejection here too.
  async #run<T>(body: () => T): Promise<T> {
    await Promise.resolve();
    try {
      return body();
    } catch (error) {
      if ((error as { errcode?: number }).errcode === REFUSED_BY_TRIGGER) throw new StoreRefused(error);
      throw error;
    }
  }
}
