import { randomBytes } from 'node:crypto';
import { ChangeoverError } from '../../../../errors.ts';
import type { CaptureLag } from '../../../../plan/stores.ts';
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
/** Its log was removed, or it is not there. */
const UNUSABLE: ReadonlySet<string> = new Set(['55000', '42704']);
/** Every reading begins where the oldest open transaction began at the last snapshot in the log: with more than this to read again, one is asked for. */
const REREAD_BYTES = 1024 * 1024;
const SNAPSHOT_PAUSE_MS = 500;
const IN_USE_PAUSE_MS = 20;

/** With less than this, what is behind was written since the last look. */
const CURRENT_BYTES = 1024 * 1024;
const LOST_REMEDY = 'raise max_slot_wal_keep_size and idle_replication_slot_timeout, or it happens again';

/** A place in the log, and when the log was there by the server's clock. */
export interface LogEnd {
  readonly lsn: string;
  readonly at: string;
}

/** A replication slot of ours with its publication. Both have one name, which is made anew with each slot, so that another one is never taken for it. */
export class Slot {
  readonly #connection: PostgresConnection;
  #lastSnapshotMs = -Infinity;

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
        CREATE TABLE IF NOT EXISTS ${table} (name text PRIMARY KEY, acknowledged pg_lsn, seen timestamptz NOT NULL DEFAULT now());
        REVOKE ALL ON ${table} FROM PUBLIC;
        INSERT INTO ${table} (name) VALUES ('${name}');
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
    if (status === 'lost') return [`the log that the replication slot ${name} kept was removed; ${LOST_REMEDY}`];
    return isAhead === 't' ? [`somebody else has read from the replication slot ${name}`] : [];
  }

  /**
   * Reads the next transactions that are not acknowledged yet, whole ones, and gives them in parts to `take`, which runs in one transaction
   * with the reading. Without `upTo` a reading under writers would have no end.
   *
   * @returns Where the last of them ended; null where there are none. `isAll` where nothing before `upTo` is left.
   */
  async read(
    name: string,
    upTo: string,
    take: (part: readonly Decoded[], session: Session) => Promise<void>,
  ): Promise<{ readonly endLsn: string | null; readonly isAll: boolean }> {
    const { writer } = this.#connection;
    return this.#patiently(() =>
      writer.alone(() =>
        writer.transaction(async () => {
          // The server keeps a large answer on its disk; here there is never more than a part of it.
          await writer.query(
            `DECLARE changeover_slot CURSOR FOR SELECT data FROM pg_logical_slot_peek_binary_changes('${name}', '${upTo}', ${MESSAGES_PER_READING},
               'proto_version', '1', 'publication_names', '${name}', 'messages', 'true')`,
          );
          const decoder = new Decoder();
          let endLsn: string | null = null;
          for (let read = 0; ;) {
            const rows = await writer.query(`FETCH ${MESSAGES_AT_ONCE} FROM changeover_slot`);
            const part = rows.flatMap(([data]) => decoder.decode(Buffer.from((data ?? '').slice(2), 'hex')) ?? []);
            await take(part, writer);
            for (const decoded of part) if (decoded.kind === 'commit') endLsn = decoded.endLsn;
            read += rows.length;
            if (rows.length < MESSAGES_AT_ONCE) return { endLsn, isAll: read < MESSAGES_PER_READING };
          }
        }),
      ),
    );
  }

  /**
   * Everything before `lsn`, and all that was committed before `seen`, has been taken over durably. What is acknowledged is written down
   * first: a kill in between is then no damage.
   */
  async acknowledge(name: string, lsn: string, seen: string): Promise<void> {
    const { writer } = this.#connection;
    const table = await this.#table();
    await this.#patiently(() =>
      writer.alone(async () => {
        // Where somebody else has read, that stays to be seen.
        await writer.query(
          `UPDATE ${table} AS o SET acknowledged = greatest(o.acknowledged, $2::pg_lsn), seen = $3
           FROM pg_replication_slots s WHERE o.name = $1 AND s.slot_name = o.name AND s.confirmed_flush_lsn <= o.acknowledged`,
          [name, lsn, seen],
        );
        await writer.query(
          `SELECT CASE WHEN confirmed_flush_lsn < $2::pg_lsn THEN pg_replication_slot_advance(slot_name, $2::pg_lsn)::text END
           FROM pg_replication_slots WHERE slot_name = $1`,
          [name, lsn],
        );
        await this.#shortenReread(name);
      }),
    );
  }

  /**
   * Where the log is now, with all of it on the disk: before that a slot does not hold the commits of sessions that do not wait for the
   * disk.
   */
  async flushed(): Promise<LogEnd> {
    const { writer } = this.#connection;
    return writer.alone(async () => {
      const [row] = await writer.query(
        'SELECT pg_current_wal_flush_lsn(), now(), pg_current_wal_insert_lsn() > pg_current_wal_flush_lsn()',
      );
      if (row?.[2] !== 't') return { lsn: row?.[0] ?? '', at: row?.[1] ?? '' };
      await writer.query(
        `SELECT set_config('synchronous_commit', 'local', true), pg_logical_emit_message(true, '${OWN_PREFIX}', 'flush')`,
      );
      const [after] = await writer.query('SELECT pg_current_wal_flush_lsn()');
      return { lsn: after?.[0] ?? '', at: row[1] ?? '' };
    });
  }

  /** How far the slot is behind, and what is wrong with it; null where there is no such slot. */
  async lag(name: string): Promise<CaptureLag | null> {
    const [row] = await this.#connection.main.query(
      `SELECT pg_current_wal_lsn() - s.confirmed_flush_lsn, round(extract(epoch FROM now() - o.seen)), s.wal_status, s.safe_wal_size,
              to_jsonb(s)->>'invalidation_reason'
       FROM ${await this.#table()} o JOIN pg_replication_slots s ON s.slot_name = o.name AND s.database = current_database()
       WHERE o.name = $1`,
      [name],
    );
    if (row === undefined) return null;
    const [lag, age, status, safe, reason] = row;
    const bytes = Math.max(0, Number(lag ?? 0));
    const warning =
      status === 'lost'
        ? `the log that the replication slot ${name} kept was removed (${reason ?? 'max_slot_wal_keep_size'}): ${LOST_REMEDY}`
        : status === 'unreserved'
          ? `the log that the replication slot ${name} keeps is about to be removed: raise max_slot_wal_keep_size (a reload is enough)`
          : safe != null && Number(safe) < bytes
            ? `the replication slot ${name} may keep ${safe} bytes of log more before they are removed: raise max_slot_wal_keep_size`
            : null;
    return { bytes, seconds: bytes < CURRENT_BYTES ? 0 : Number(age), warning };
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

  /** What the server says about a slot that is gone or whose log was removed, as an error that names it. */
  async #orLost(cause: Error): Promise<Error> {
    const { store, main } = this.#connection;
    const slot = await this.name();
    const [row] = await main.query('SELECT wal_status FROM pg_replication_slots WHERE slot_name = $1', [slot]);
    if (slot === null || (row !== undefined && row[0] !== 'lost')) return cause;
    return new ChangeoverError('CHG_DATA_SLOT_LOST', { store, slot, reason: cause.message }, { cause });
  }

  async #table(): Promise<string> {
    return `${await this.#connection.home()}.changeover_slot`;
  }

  /**
   * The server writes the snapshot from which a reading can begin every 15 s or more; on a busy server that is much to read again under the
   * lock of the cutover. Where our role may, one is written when it is worth it, and counts from the acknowledgements after it on.
   */
  async #shortenReread(name: string): Promise<void> {
    const { writer, ctx } = this.#connection;
    if (ctx.clock.monotonicMs() - this.#lastSnapshotMs < SNAPSHOT_PAUSE_MS) return;
    const [row] = await writer.query(
      `SELECT confirmed_flush_lsn - restart_lsn > ${REREAD_BYTES} AND has_function_privilege(to_regprocedure('pg_log_standby_snapshot()'), 'EXECUTE')
       FROM pg_replication_slots WHERE slot_name = $1`,
      [name],
    );
    if (row?.[0] !== 't') return;
    this.#lastSnapshotMs = ctx.clock.monotonicMs();
    await writer.query('SELECT pg_log_standby_snapshot()');
  }

  async #patiently<T>(work: () => Promise<T>): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await work();
      } catch (error) {
        if (UNUSABLE.has(sqlState(error) ?? '')) throw await this.#orLost(error as Error);
        if (sqlState(error) !== OBJECT_IN_USE || attempt === IN_USE_RETRIES) throw error;
        await this.#connection.ctx.clock.sleep(IN_USE_PAUSE_MS);
      }
    }
  }
}
