import { randomUUID } from 'node:crypto';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import mysql from 'mysql2/promise';
import pg from 'pg';

type Param = null | number | bigint | string | Uint8Array;

/** A database as an application sees it: one connection of its own, that knows nothing of any move. */
export interface TestDatabase extends AsyncDisposable {
  readonly kind: 'sqlite' | 'postgres' | 'mariadb';
  /** Path of the file, or connection string. */
  readonly address: string;
  /** One or several statements; parameters (`?`, in all kinds) with one only. */
  exec(sql: string, ...params: readonly Param[]): Promise<void>;
  /** Rows of one query; values as the driver gives them. */
  all(sql: string): Promise<Record<string, unknown>[]>;
  close(): Promise<void>;
}

/** A new SQLite file in WAL mode. `busyTimeoutMs` is the application's own patience; default 0, the hardest case. */
export function testSqlite(folder: string, name: string, busyTimeoutMs = 0): TestDatabase {
  return openSqlite(path.join(folder, name), busyTimeoutMs);
}

/** The same on a file that may be there already. */
export function openSqlite(address: string, busyTimeoutMs: number): TestDatabase {
  const db = new DatabaseSync(address, { timeout: busyTimeoutMs });
  db.exec('PRAGMA journal_mode = WAL');
  const close = () => {
    if (db.isOpen) db.close();
    return Promise.resolve();
  };
  return {
    kind: 'sqlite',
    address,
    exec: (sql, ...params) =>
      new Promise((resolve) => {
        if (params.length === 0) db.exec(sql);
        else db.prepare(sql).run(...params);
        resolve();
      }),
    all: (sql) =>
      new Promise((resolve) => {
        resolve(db.prepare(sql).all());
      }),
    close,
    [Symbol.asyncDispose]: close,
  };
}

/** A new database on a running server. `url` names the server and a role that may create databases. */
export async function testPostgres(url: string): Promise<TestDatabase> {
  const name = `test_${randomUUID().replaceAll('-', '')}`;
  const admin = new pg.Client(url);
  await admin.connect();
  await admin.query(`CREATE DATABASE ${name} TEMPLATE template0 STRATEGY FILE_COPY`);
  await admin.end();
  const address = new URL(url);
  address.pathname = `/${name}`;
  return connectPostgres(address.href);
}

/** A connection of its own to a database that is there already. */
export async function connectPostgres(address: string): Promise<TestDatabase> {
  const client = new pg.Client(address);
  // Without a listener a lost connection would end the process; the next statement meets it.
  client.on('error', () => undefined);
  await client.connect();
  let isOpen = true;
  const close = async () => {
    if (isOpen) await client.end();
    isOpen = false;
  };
  return {
    kind: 'postgres',
    address,
    exec: async (sql, ...params) => {
      let index = 0;
      const numbered = params.length === 0 ? sql : sql.replace(/\?/g, () => `$${++index}`);
      await client.query(numbered, params.length === 0 ? undefined : [...params]);
    },
    all: async (sql) => (await client.query<Record<string, unknown>>(sql)).rows,
    close,
    [Symbol.asyncDispose]: close,
  };
}

/** A new database on a running server. `url` names the server and an account that may create databases. */
export async function testMariadb(url: string): Promise<TestDatabase> {
  const name = `test_${randomUUID().replaceAll('-', '')}`;
  const admin = await mysql.createConnection(url);
  await admin.query(`CREATE DATABASE ${name} CHARACTER SET utf8mb4`);
  await admin.end();
  const address = new URL(url);
  address.pathname = `/${name}`;
  return connectMariadb(address.href);
}

/** A connection of its own to a database that is there already. */
export async function connectMariadb(address: string): Promise<TestDatabase> {
  const connection = await mysql.createConnection({ uri: address, multipleStatements: true });
  // A test may end the server or the connection; the next statement says so.
  connection.on('error', () => undefined);
  let isOpen = true;
  const close = async () => {
    if (isOpen) await connection.end();
    isOpen = false;
  };
  return {
    kind: 'mariadb',
    address,
    exec: async (sql, ...params) => {
      await (params.length === 0 ? connection.query(sql) : connection.execute(sql, params.map(bindable)));
    },
    all: async (sql) => (await connection.query<mysql.RowDataPacket[]>(sql))[0],
    close,
    [Symbol.asyncDispose]: close,
  };
}

function bindable(value: Param): null | number | bigint | string | Buffer {
  return value instanceof Uint8Array ? Buffer.from(value) : value;
}
