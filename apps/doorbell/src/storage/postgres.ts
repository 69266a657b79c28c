import pg from 'pg';
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

/** How long a statement waits for a lock that another process holds. */
const LOCK_TIMEOUT_MS = 5000;
const CONNECT_TIMEOUT_MS = 5000;
/** How a fence refuses: `read_only_sql_transaction`, or `raise_exception`, the default of RAISE. */
const REFUSALS = ['25006', 'P0001'];
/** Serialises schema changes of several starting processes. */
const MIGRATION_LOCK = 3_512_041_727;

/**
 * Every version of a row carries the transaction that wrote it, so that a change of a row in place is seen too; the encodings themselves lie
 * beside the table and are not read.
 */
const ENCODINGS_VERSION_SQL = `SELECT concat_ws('-', e.version, p.version) AS version
  FROM (SELECT concat_ws('-', count(*), max(encoding_id), sum(hashtext(concat(xmin, ':', encoding_id))::bigint)) AS version
    FROM face_encodings) e,
  (SELECT concat_ws('-', count(*), sum(hashtext(concat(xmin, ':', person_id))::bigint)) AS version FROM persons) p`;

/** Rows in one Postgres database. */
export class PostgresStorage implements Storage {
  readonly kind = 'postgres';
  readonly #pool: pg.Pool;

  constructor(url: string) {
    this.#pool = new pg.Pool({
      connectionString: url,
      max: 4,
      application_name: 'doorbell',
      connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
      options: `-c lock_timeout=${LOCK_TIMEOUT_MS}`,
    });
    // An idle connection that breaks is replaced by the next use, which is also the one to fail if none can be made.
    this.#pool.on('error', () => undefined);
  }

  async migrate(): Promise<void> {
    if (await this.#isComplete()) return;
    await this.#transaction(async (client) => {
      await client.query('SELECT pg_advisory_xact_lock($1)', [MIGRATION_LOCK]);
      for (const statement of schemaFor('postgres')) await client.query(statement);
    });
  }

  async ping(): Promise<void> {
    if (!(await this.#isComplete())) throw new Error('tables are missing: run src/migrate.ts');
  }

  async assertWritable(): Promise<void> {
    await this.#transaction((client) => write(client, [PROBE]), 'ROLLBACK');
  }

  async people(): Promise<NewPerson[]> {
    return (await this.#pool.query<PersonRow>(PEOPLE_SQL)).rows.map(storedPerson);
  }

  async encodings(): Promise<StoredEncoding[]> {
    return (await this.#pool.query<EncodingRow>(ENCODINGS_SQL)).rows.map(storedEncoding);
  }

  async encodingsVersion(): Promise<string> {
    const { rows } = await this.#pool.query<{ version: string }>(ENCODINGS_VERSION_SQL);
    return rows[0]?.version ?? '';
  }

  async addEncoding(person: NewPerson, encoding: readonly number[], at: number): Promise<void> {
    await this.#transaction((client) => write(client, encodingWrites(person, encoding, at)));
  }

  async removePerson(personId: string): Promise<boolean> {
    return this.#transaction(async (client) => {
      await write(client, [['DELETE FROM face_encodings WHERE person_id = ?', [personId]]]);
      return (await write(client, [['DELETE FROM persons WHERE person_id = ?', [personId]]])) > 0;
    });
  }

  async addEvent(
    event: NewEvent,
    recognition: NewRecognition | null,
    notifications: readonly NewNotification[],
  ): Promise<void> {
    const [first, rest] = eventWrites(event, recognition, notifications);
    await this.#transaction(async (client) => {
      if ((await write(client, [first])) > 0) await write(client, rest);
    });
  }

  async recentEvents(types: readonly string[], limit: number): Promise<StoredEvent[]> {
    const { rows } = await this.#pool.query<StoredEvent>(
      'SELECT event_type AS type, timestamp, event_data AS data FROM events WHERE event_type = ANY ($1) ORDER BY timestamp DESC, id DESC LIMIT $2',
      [types, limit],
    );
    return rows.reverse();
  }

  async eventsBefore(types: readonly string[], limit: number, before: EventPosition | null): Promise<PlacedEvent[]> {
    const { rows } = await this.#pool.query<PlacedEvent>(
      'SELECT id::float8 AS id, event_type AS type, timestamp, event_data AS data FROM events WHERE event_type = ANY ($1) ' +
        'AND ($3::float8 IS NULL OR (timestamp, id) < ($3::float8, $4::bigint)) ORDER BY timestamp DESC, id DESC LIMIT $2',
      [types, limit, before?.timestamp ?? null, before?.id ?? null],
    );
    return rows;
  }

  async addNotification(notification: NewNotification): Promise<void> {
    await this.#transaction((client) => write(client, [notificationWrite(notification)]));
  }

  async notifications(status: NotificationStatus, limit: number): Promise<NewNotification[]> {
    const { rows } = await this.#pool.query<NotificationRow>(
      `${NOTIFICATIONS_SQL} WHERE status = $1 ORDER BY id LIMIT $2`,
      [status, limit],
    );
    return rows.map(storedNotification);
  }

  async updateNotification(alertId: string, status: NotificationStatus, metadata: NotificationMetadata): Promise<void> {
    const sql = 'UPDATE notifications SET status = ?, metadata = ? WHERE alert_id = ?';
    await this.#transaction((client) => write(client, [[sql, [status, JSON.stringify(metadata), alertId]]]));
  }

  async close(): Promise<void> {
    await this.#pool.end();
  }

  async #isComplete(): Promise<boolean> {
    const { rows } = await this.#pool.query<{ found: number }>(
      'SELECT count(to_regclass(name))::int AS found FROM unnest($1::text[]) AS name',
      [TABLES],
    );
    return rows[0]?.found === TABLES.length;
  }

  async #transaction<T>(
    body: (client: pg.PoolClient) => Promise<T>,
    end: 'COMMIT' | 'ROLLBACK' = 'COMMIT',
  ): Promise<T> {
    const client = await this.#pool.connect();
    let broken = false;
    try {
      await client.query('BEGIN');
      const result = await body(client);
      await client.query(end);
      return result;
    } catch (error) {
      await client.query('ROLLBACK').catch(() => {
        broken = true;
      });
      throw REFUSALS.includes((error as { code?: string }).code ?? '') ? new StoreRefused(error) : error;
    } finally {
      client.release(broken);
    }
  }
}

/** Number of rows that were changed. */
async function write(client: pg.PoolClient, writes: readonly Write[]): Promise<number> {
  let changed = 0;
  for (const [sql, values] of writes) {
    let parameter = 0;
    const result = await client.query(
      sql.replaceAll('?', () => `$${++parameter}`),
      [...values],
    );
    changed += result.rowCount ?? 0;
  }
  return changed;
}
