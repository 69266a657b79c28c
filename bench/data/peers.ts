import { execFileSync, spawnSync } from 'node:child_process';
import { rmSync } from 'node:fs';
import path from 'node:path';

/** True where the program is there, or could be installed: as root, from Debian's archive. */
export function isInstalled(program: string): boolean {
  const isThere = () => spawnSync('which', [program]).status === 0;
  if (isThere()) return true;
  if (process.getuid?.() !== 0 || spawnSync('which', ['apt-get']).status !== 0) return false;
  console.error(`installing ${program}`);
  spawnSync('apt-get', ['install', '-y', '--no-install-recommends', program], { stdio: 'ignore' });
  return isThere();
}

/** Milliseconds, or null where it failed; why goes to standard error. */
function timed(program: string, ...args: readonly string[]): number | null {
  const started = performance.now();
  // In a session of its own: pgcopydb ends its whole process group when it fails, which else would be ours.
  const { status, stdout, stderr } = spawnSync('setsid', ['--wait', program, ...args], { encoding: 'utf8' });
  const tookMs = performance.now() - started;
  // pgloader ends with 0 when rows were refused; its summary says so.
  const errors = /^\s*Total import time\s+(\S+)/m.exec(stdout)?.[1] ?? '✓';
  if (status === 0 && errors === '✓') return tookMs;
  console.error(`${program} failed (${status ?? 'killed'}):\n${`${stdout}${stderr}`.slice(-800)}`);
  return null;
}

/** Creates the tables and keys, and copies: all that pgloader does by itself. `from` is a file of SQLite or an address of MariaDB. */
export function pgloader(from: string, url: string, ...options: readonly string[]): number | null {
  return timed('pgloader', ...options, from.replace(/^mariadb:/, 'mysql:'), url.replace(/^postgres:/, 'pgsql:'));
}

/**
 * The data, then keys and indexes, into a table that is there without them. `clone` would also copy the schema, but with the pg_dump of the
 * same Debian, which refuses a newer server.
 */
export function pgcopydb(from: string, to: string, folder: string): number | null {
  const work = path.join(folder, 'pgcopydb');
  const common = ['--source', from, '--target', to, '--dir', work, '--not-consistent'];
  let total = 0;
  for (const args of [
    ['copy', 'table-data', ...common, '--table-jobs', '2', '--index-jobs', '2'],
    ['copy', 'indexes', ...common, '--index-jobs', '2', '--restart'],
    ['copy', 'constraints', ...common, '--resume'],
  ]) {
    const tookMs = timed('pgcopydb', ...args);
    if (tookMs === null) return null;
    total += tookMs;
  }
  rmSync(work, { recursive: true, force: true });
  return total;
}

/** What no copy can beat: the server reads text that lies ready in a file, into the table with its key. */
export function readyText(url: string, file: string): number | null {
  return timed('psql', '--quiet', '--no-psqlrc', '--dbname', url, '--command', `\\copy events from '${file}'`);
}

/** The same in two halves at once, from the files that `split` left. */
export function readyTextInTwo(url: string, file: string): number | null {
  const one = (half: string) =>
    `psql --quiet --no-psqlrc --dbname "$0" --command "\\copy events from '${file}.${half}'"`;
  return timed('sh', '-c', `${one('aa')} & first=$!; ${one('ab')} && wait $first`, url);
}

export function writeReadyText(url: string, file: string): void {
  execFileSync('psql', ['--quiet', '--no-psqlrc', '--dbname', url, '--command', `\\copy events to '${file}'`]);
  execFileSync('split', ['--number=l/2', file, `${file}.`]);
}
