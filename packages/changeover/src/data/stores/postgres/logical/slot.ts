import { randomBytes } from 'node:crypto';
import { ChangeoverError } from '../../../../errors.ts';
import { OWN_PREFIX, type PostgresConnection } from '../connection.ts';
import { sqlState, type Session } from '../session.ts';
import { Decoder, type Decoded } from './decode.ts';

/** A slot is made when every transaction has ended that ran when it was asked for. */
const CREATE_TIMEOUT_MS = 30_000;
/** Messages after which a reading ends with the transaction that it is in, and how many of them are in memory at once. */
const MESSAGES_PER_READING = 100_000;
const MESSAGES_AT_ONCE = 5_000;
const OBJECT_IN_USE = '55006';
const QUERY_CANCELED = '57014';
/** Another process of the run reads the slot for milliseconds. */
const IN_USE_RETRIES = 100;
const IN_USE_PAUSE_MS = 20;

/** A replication slot of ours with its publication. Both have one name, which is made anew with each slot, so that another one is never taken for it. */
export class Slot {
  readonly #connection: PostgresConnection;

  constructor(connection: PostgresConnection) {
    this.#connection = connection;
  }

  /** The name that was written down; null where there is none. */
  async name(): Promise<string | null> {
    const { main } = this.#connection;
    const table = await this.#table();
    const [there] = await main.query('SELECT to_regclass($1) IS NOT NULL', [table]);
    if (there?.[0] !== 't') return null;
    const [row] = await main.query(`SELECT name FROM ${table}`);
    return row?.[0] ?? null;
  }

  /**
   * Writes a new name down, makes its publication and then its slot: from then on every commit is in the log. Each part is found by the
   * name after a kill, and removed by `drop`. Throws `CHG_DATA_SLOT_FAILED`.
   */
  async create(): Promise<string> {
    const { main, ctx } = this.#connection;
    const table = await this.#table();
    const name = `changeover_${randomBytes(6).toString('hex')}`;
    await this.#connection.change('changeover_slot', (session) =>
      session.query(`
        CREATE TABLE IF NOT EXISTS ${table} (name text PRIMARY KEY, acknowledged pg_lsn);
        REVOKE ALL ON ${table} FROM PUBLIC;
        INSERT INTO ${table} VALUES ('${name}', NULL);
        CREATE PUBLICATION ${name} WITH (publish_via_partition_root = true)`),
    );
    ctx.faults.at('data.capture.installing');
    await main.alone(async () => {
      try {
        await main.transaction(async () => {
          await main.query(`SET LOCAL statement_timeout = ${CREATE_TIMEOUT_MS}`);
          await main.query("SELECT pg_create_logical_replication_slot($1, 'pgoutput')", [name]);
        });
      } catch (cause) {
        const isLate = sqlState(cause) === QUERY_CANCELED;
        const reason = isLate
          ? `a transaction that was open when it was asked for has not ended for ${CREATE_TIMEOUT_MS} ms`
          : (cause as Error).message;
        throw new ChangeoverError('CHG_DATA_SLOT_FAILED', { store: this.#connection.store, reason }, { cause });
      }
    });
    await main.query(
      `UPDATE ${table} SET acknowledged = (SELECT confirmed_flush_lsn FROM pg_replication_slots WHERE slot_name = name)`,
    );
    return name;
  }

  /** What is wrong with the slot of that name; empty where every commit since it was made is still in it. */
  async damages(name: string): Promise<string[]> {
    const [row] = await this.#connection.main.query(
      `SELECT s.wal_status, s.confirmed_flush_lsn > o.acknowledged OR o.acknowledged IS NULL
       FROM ${await this.#table()} o JOIN pg_replication_slots s ON s.slot_name = o.name AND s.database = current_database()
       WHERE o.name = $1`,
      [name],
    );
    if (row === undefined) return [`the replication slot ${name} is gone`];
    const [status, isAhead] = row;
    if (status === 'lost') return [`the log that the replication slot ${name} kept was removed`];
    return isAhead === 't' ? [`somebody else has read from the replication slot ${name}`] : [];
  }

  /**
   * Reads the next transactions that are not acknowledged yet, whole ones, and gives them in parts to `take`, which runs in one transaction
   * with the reading. Resolves with where the last of them ended; null where there are none.
   */
  async read(
    name: string,
    take: (part: readonly Decoded[], session: Session) => Promise<void>,
  ): Promise<string | null> {
    const { writer } = this.#connection;
    return this.#patiently(() =>
      writer.alone(() =>
        writer.transaction(async () => {
          // The server keeps a large answer on its disk; here there is never more than a part of it.
          await writer.query(
            `DECLARE changeover_slot CURSOR FOR SELECT data FROM pg_logical_slot_peek_binary_changes('${name}', NULL, ${MESSAGES_PER_READING},
               'proto_version', '1', 'publication_names', '${name}', 'messages', 'true')`,
          );
          const decoder = new Decoder();
          let endLsn: string | null = null;
          for (;;) {
            const rows = await writer.query(`FETCH ${MESSAGES_AT_ONCE} FROM changeover_slot`);
            const part = rows.flatMap(([data]) => decoder.decode(Buffer.from((data ?? '').slice(2), 'hex')) ?? []);
            await take(part, writer);
            for (const decoded of part) if (decoded.kind === 'commit') endLsn = decoded.endLsn;
            if (rows.length < MESSAGES_AT_ONCE) return endLsn;
          }
        }),
      ),
    );
  }

  /** Everything up to `lsn` has been taken over durably. What is acknowledged is written down first: a kill in between is then no damage. */
  async acknowledge(name: string, lsn: string): Promise<void> {
    const { writer } = this.#connection;
    const table = await this.#table();
    await this.#patiently(() =>
      writer.alone(async () => {
        await writer.query(
          `UPDATE ${table} SET acknowledged = $2::pg_lsn WHERE name = $1 AND acknowledged < $2::pg_lsn`,
          [name, lsn],
        );
        await writer.query(
          `SELECT CASE WHEN confirmed_flush_lsn < $2::pg_lsn THEN pg_replication_slot_advance(slot_name, $2::pg_lsn)::text END
           FROM pg_replication_slots WHERE slot_name = $1`,
          [name, lsn],
        );
      }),
    );
  }

  /**
   * Where the log is now, with all of it on the disk: before that a slot does not hold the commits of sessions that do not wait for the
   * disk.
   */
  async flushed(): Promise<string> {
    const { writer } = this.#connection;
    return writer.alone(async () => {
      const [row] = await writer.query(
        'SELECT pg_current_wal_flush_lsn(), pg_current_wal_insert_lsn() > pg_current_wal_flush_lsn()',
      );
      if (row?.[1] !== 't') return row?.[0] ?? '';
      await writer.query(`SELECT pg_logical_emit_message(true, '${OWN_PREFIX}', 'flush')`);
      const [after] = await writer.query('SELECT pg_current_wal_flush_lsn()');
      return after?.[0] ?? '';
    });
  }

  /** How much of the log the slot keeps that is not acknowledged, in bytes. */
  async lagBytes(name: string): Promise<number> {
    const [row] = await this.#connection.main.query(
      'SELECT pg_current_wal_lsn() - confirmed_flush_lsn FROM pg_replication_slots WHERE slot_name = $1',
      [name],
    );
    return Number(row?.[0] ?? 0);
  }

  /** The slot, its publication and the note about them. A slot that a dead process still reads is taken from it. */
  async drop(): Promise<void> {
    const { main } = this.#connection;
    const name = await this.name();
    if (name === null) return;
    await main.query(
      'SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = $1 AND active',
      [name],
    );
    await this.#patiently(() =>
      main.query('SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = $1', [name]),
    );
    const table = await this.#table();
    await this.#connection.change('changeover_slot', (session) =>
      session.query(`DROP PUBLICATION IF EXISTS ${name}; DROP TABLE ${table}`),
    );
  }

  async #table(): Promise<string> {
    return `${await this.#connection.home()}.changeover_slot`;
  }

  async #patiently<T>(work: () => Promise<T>): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await work();
      } catch (error) {
        if (sqlState(error) !== OBJECT_IN_USE || attempt === IN_USE_RETRIES) throw error;
        await this.#connection.ctx.clock.sleep(IN_USE_PAUSE_MS);
      }
    }
  }
}
