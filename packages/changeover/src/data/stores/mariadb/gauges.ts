import type { Connection, RowDataPacket } from 'mysql2/promise';
import { ChangeoverError } from '../../../errors.ts';
import type { Session } from './session.ts';
import type { MariadbShape } from './shape.ts';
import { literal, quoted } from './text.ts';

const CONNECT_TIMEOUT_MS = 5_000;

/** How long the server took for one row by its key, by its own clock: NOW is when the statement began. */
export async function latencyMs(session: Session, { name, key }: MariadbShape): Promise<number> {
  const [row] = await session.texts(
    `SELECT TIMESTAMPDIFF(MICROSECOND, NOW(6), SYSDATE(6)) / 1000
     FROM (SELECT 1 FROM ${quoted(name)} ORDER BY ${key.map(quoted).join(', ')} LIMIT 1) AS one`,
  );
  return Number(row?.[0] ?? 0);
}

/** Pages are filled to fifteen parts of sixteen: https://dev.mysql.com/doc/refman/8.4/en/innodb-physical-structure.html */
export async function estimatedBytes(session: Session, table: string): Promise<number> {
  const [row] = await session.texts(
    `SELECT DATA_LENGTH * 15 / 16 FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = ${literal(table)}`,
  );
  return Math.round(Number(row?.[0] ?? 0));
}

/** One replica, asked over a connection of its own: a primary of MariaDB or MySQL does not know how far its replicas are. */
export class Replica {
  readonly name: string;
  readonly #url: string;
  #connection: Connection | null = null;

  constructor(url: string) {
    const { hostname, port } = new URL(url);
    this.name = `mariadb:${hostname}:${port || '3306'}`;
    this.#url = url;
  }

  /** In milliseconds; Infinity where replication has stopped. Throws `CHG_DATA_STORE_UNREACHABLE`. */
  async lagMs(): Promise<number> {
    try {
      const connection = await this.#connected();
      const [sources] = await connection.query<RowDataPacket[]>('SHOW REPLICA STATUS');
      if (sources.length === 0) throw new Error('it is no replica');
      return Math.max(...sources.map(behindMs));
    } catch (cause) {
      this.#connection?.destroy();
      this.#connection = null;
      const reason = cause instanceof Error ? cause.message : String(cause);
      throw new ChangeoverError('CHG_DATA_STORE_UNREACHABLE', { store: this.name, reason }, { cause });
    }
  }

  async close(): Promise<void> {
    const connection = this.#connection;
    this.#connection = null;
    await connection?.end();
  }

  async #connected(): Promise<Connection> {
    if (this.#connection !== null) return this.#connection;
    const mysql = await import('mysql2/promise');
    const connection = await mysql.createConnection({ uri: this.#url, connectTimeout: CONNECT_TIMEOUT_MS });
    // Without a listener a lost connection would end the process; the next question finds it gone.
    connection.on('error', () => {
      if (this.#connection === connection) this.#connection = null;
    });
    this.#connection = connection;
    return connection;
  }
}

/** MySQL calls it after the source, MariaDB after the master; NULL where replication does not run. */
function behindMs(status: RowDataPacket): number {
  const behind: unknown = status['Seconds_Behind_Source'] ?? status['Seconds_Behind_Master'];
  return behind == null ? Infinity : Number(behind) * 1000;
}
