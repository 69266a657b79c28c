import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import mysql from 'mysql2/promise';
import { packageIsMissing } from './debian-package.ts';
import { keepServer } from './kept-server.ts';
import { freePort } from './ports.ts';

const run = promisify(execFile);

export interface ThrowawayMariadb {
  /** Connection string of the superuser `root`, without a database. */
  readonly url: string;
  /** Process id of the server; another one after `crash`. */
  readonly pid: number;
  /**
   * Kills the server, starts it again on the same address, and resolves when it has recovered. Commits of the last second are lost, unless the
   * settings have `--innodb-flush-log-at-trx-commit=2`.
   */
  crash(): Promise<void>;
  /** Ends the server and removes its folder. */
  stop(): Promise<void>;
}

const START_TIMEOUT_MS = 30_000;
const ATTEMPTS = 3;

/** Why no MariaDB can be started here; null where one can. On Debian, root gets `mariadb-server` installed where it is missing. */
export function mariadbIsMissing(): Promise<string | null> {
  return packageIsMissing('mariadb-server', ['mariadbd', 'mariadb-install-db']);
}

/**
 * Starts a throwaway MariaDB on a free port of 127.0.0.1, with its binary log on. It ends, and its folder goes, when the calling process dies.
 *
 * @param options.settings Further settings of the server: `['--log-bin-trust-function-creators=0']`.
 * @example
 * const mariadb = await startMariadb();
 * const connection = await mysql.createConnection(mariadb.url);
 * // …
 * await mariadb.stop();
 */
export async function startMariadb({
  settings = [],
}: { readonly settings?: readonly string[] } = {}): Promise<ThrowawayMariadb> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await launch(settings);
    } catch (error) {
      // Another process may have taken the free port between the look and the start.
      if (attempt === ATTEMPTS) throw error;
    }
  }
}

async function launch(settings: readonly string[]): Promise<ThrowawayMariadb> {
  const folder = await mkdtemp(path.join(tmpdir(), 'changeover-maria-'));
  const data = path.join(folder, 'data');
  const user = process.getuid?.() === 0 ? ['--user=root'] : [];
  const auth = '--auth-root-authentication-method=normal';
  const port = await freePort();
  try {
    await run('mariadb-install-db', ['--no-defaults', `--datadir=${data}`, auth, '--skip-test-db', ...user]);
  } catch (error) {
    await rm(folder, { recursive: true });
    throw error;
  }
  const server = [
    'mariadbd',
    '--no-defaults',
    ...user,
    `--datadir=${data}`,
    // A server that starts removes what it takes for leftovers, those of another one that is running too.
    `--tmpdir=${folder}`,
    `--socket=${path.join(folder, 's')}`,
    `--pid-file=${path.join(folder, 'pid')}`,
    `--port=${port}`,
    '--bind-address=127.0.0.1',
    `--log-bin=${path.join(data, 'bin')}`,
    '--server-id=1',
    // As most servers have it; with statements in the log InnoDB would lock more than it is asked to.
    '--binlog-format=ROW',
    '--innodb-flush-log-at-trx-commit=0',
    '--innodb-buffer-pool-size=32M',
    '--skip-name-resolve',
    ...settings,
  ];
  const url = `mariadb://root@127.0.0.1:${port}`;
  const kept = await keepServer({
    name: 'mariadb',
    folder,
    command: server,
    end: 'KILL',
    ready: (pid) => ready(pid, url),
  });
  return {
    url,
    get pid() {
      return kept.pid;
    },
    crash: () => kept.crash('KILL'),
    stop: () => kept.stop(),
  };
}

async function ready(pid: number, url: string): Promise<void> {
  const deadline = performance.now() + START_TIMEOUT_MS;
  for (;;) {
    process.kill(pid, 0);
    try {
      const connection = await mysql.createConnection(url);
      await connection.end();
      return;
    } catch (error) {
      if (performance.now() >= deadline) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
