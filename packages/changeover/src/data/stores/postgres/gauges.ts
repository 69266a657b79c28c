import type { Session } from './session.ts';
import type { PostgresShape } from './shape.ts';
import { quoted } from './text.ts';

/** Pages by which the bytes of a table are estimated. */
const SAMPLED_PAGES = 200;
/** Positions of the log that are remembered; beyond it every second one goes. */
const MAX_POSITIONS = 1000;

/**
 * How long the server took for one row on a page of its own choice, by its own clock: a page that lies in memory would say nothing about the
 * disks. Waiting for a lock or for a processor counts.
 */
export async function latencyMs(session: Session, { oid, qualified }: PostgresShape): Promise<number> {
  // What the server knows anyway: to look at the file it would take the table's lock, outside of what is measured.
  const [size] = await session.query('SELECT greatest(relpages, 1) FROM pg_class WHERE oid = $1', [oid]);
  const page = Math.floor(Math.random() * Number(size?.[0] ?? 1));
  const [row] = await session.query(
    `SELECT 1000 * extract(epoch FROM clock_timestamp() - statement_timestamp())
     FROM (SELECT count(*) FROM ${qualified} WHERE ctid = '(${page},1)') AS one`,
  );
  return Number(row?.[0]);
}

/** Bytes of all rows, by a sample of pages that the server draws. Values that are kept out of line are not read for it. */
export async function estimatedBytes(
  session: Session,
  { qualified, columns }: PostgresShape,
  rows: number,
  form: 'values' | 'copy',
): Promise<number> {
  const [size] = await session.query(
    `SELECT sum(pg_relation_size(relid) / current_setting('block_size')::bigint)
     FROM (SELECT relid FROM pg_partition_tree($1::regclass) UNION SELECT $1::regclass) AS parts`,
    [qualified],
  );
  const percent = Math.min(100, (100 * SAMPLED_PAGES) / Math.max(Number(size?.[0]), 1));
  const lengths = columns.map(({ name, kind, cast }) => {
    const isVariable = kind === 'bytes' || ['pg_catalog.text', 'pg_catalog.varchar'].includes(cast);
    const length = isVariable ? `octet_length(${quoted(name)})` : `pg_column_size(${quoted(name)})`;
    // In binary COPY each value has its length before it.
    return `coalesce(${length}, 0)${form === 'copy' ? ' + 4' : ''}`;
  });
  // A message of COPY has a header of five bytes, a row the number of its columns.
  const perRow = form === 'copy' ? ['7', ...lengths] : lengths;
  const [average] = await session.query(
    `SELECT avg(${perRow.join(' + ')}) FROM ${qualified} TABLESAMPLE SYSTEM (${percent})`,
  );
  return Math.round(Number(average?.[0] ?? 0) * rows);
}

/**
 * How far replicas are behind. The server's own `replay_lag` stands still while a replica does, so it is also remembered when each position of the
 * log was the last one: a replica that has not replayed it yet is behind for at least that long.
 */
export class ReplicaLag {
  readonly #session: Session;
  readonly #nowMs: () => number;
  readonly #warn: (message: string) => void;
  #positions: { readonly lsn: bigint; readonly atMs: number }[] = [];
  #hasWarned = false;

  constructor(session: Session, nowMs: () => number, warn: (message: string) => void) {
    this.#session = session;
    this.#nowMs = nowMs;
    this.#warn = warn;
  }

  /** In milliseconds; null without a replica that tells. */
  async now(): Promise<number | null> {
    const rows = await this.#session.query(
      `SELECT pg_current_wal_lsn() - '0/0', replay_lsn - '0/0', coalesce(1000 * extract(epoch FROM replay_lag), 0), state IS NULL
       FROM pg_stat_replication`,
    );
    if (rows.length === 0) {
      this.#positions = [];
      return null;
    }
    if (rows.some(([, , , isHidden]) => isHidden === 't')) this.#warnOnce();
    const current = BigInt(rows[0]?.[0] ?? 0);
    const nowMs = this.#nowMs();
    if (current !== this.#positions.at(-1)?.lsn) this.#positions.push({ lsn: current, atMs: nowMs });
    if (this.#positions.length > MAX_POSITIONS) this.#positions = this.#positions.filter((_, index) => index % 2 === 1);
    // A base backup replays nothing.
    const replicas = rows.flatMap(([, replayed, lagMs]) =>
      replayed == null ? [] : [{ replayed: BigInt(replayed), lagMs: Number(lagMs) }],
    );
    if (replicas.length === 0) return null;
    const slowest = replicas.reduce((least, { replayed }) => (replayed < least ? replayed : least), current);
    const lags = replicas.map(({ replayed, lagMs }) => {
      if (replayed >= current) return 0;
      const missing = this.#positions.find(({ lsn }) => lsn > replayed);
      return Math.max(lagMs, nowMs - (missing?.atMs ?? nowMs));
    });
    this.#positions = this.#positions.filter(({ lsn }) => lsn > slowest);
    return Math.max(...lags);
  }

  #warnOnce(): void {
    if (!this.#hasWarned) this.#warn('how far replicas are behind is not seen; GRANT pg_read_all_stats to the role');
    this.#hasWarned = true;
  }
}
