import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, openSync, writeSync } from 'node:fs';
import {
  appendFile,
  chmod,
  lstat,
  mkdir,
  readdir,
  readFile,
  readlink,
  rm,
  symlink,
  truncate,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { Context, Progress } from '../plan/context.ts';
import { testContext } from '../testing/context.ts';
import { tempFolder } from '../testing/temp.ts';
import type { TempFolder } from '../testing/temp.ts';
import { createSnapshot } from './index.ts';

let temp: TempFolder;
let ctx: Context & { readonly told: Progress[]; readonly warned: string[] };

beforeEach(async () => {
  temp = await tempFolder();
  ctx = contextOf(join(temp.path, 'plan'), join(temp.path, 'state'));
  await mkdir(ctx.root);
});
afterEach(() => temp.remove());

function contextOf(root: string, stateDir: string): typeof ctx {
  const told: Progress[] = [];
  const warned: string[] = [];
  const report = {
    progress: (progress: Progress) => told.push(progress),
    warn: (message: string) => warned.push(message),
    log: () => undefined,
  };
  return { ...testContext(temp.path, { root, stateDir, report }), told, warned };
}

/** Type, mode, times and content of everything below a path. */
async function fingerprint(path: string, relative = ''): Promise<string[]> {
  const stat = await lstat(path, { bigint: true });
  const head = `${relative} ${(stat.mode & 0o177777n).toString(8)} ${stat.mtimeNs} ${stat.uid}:${stat.gid}`;
  if (stat.isSymbolicLink()) return [`${head} -> ${await readlink(path)}`];
  if (stat.isFile()) return [`${head} ${(await readFile(path)).toString('base64')}`];
  if (!stat.isDirectory()) return [head];
  const names = (await readdir(path)).sort();
  return [
    head,
    ...(await Promise.all(names.map((name) => fingerprint(join(path, name), `${relative}/${name}`)))).flat(),
  ];
}

async function makeLegacy(): Promise<void> {
  const data = join(ctx.root, 'data');
  await mkdir(join(data, 'empty folder'), { recursive: true });
  await mkdir(join(data, 'logs'));
  await writeFile(join(ctx.root, '.env'), 'TOKEN=s3cret\n', { mode: 0o600 });
  await writeFile(join(data, 'logs', 'events.log'), 'a\nb\n'.repeat(50_000));
  await writeFile(join(data, 'newline\nname "quoted" \'x\' $HOME'), 'odd');
  await writeFile(join(data, 'empty'), '');
  await writeFile(join(data, 'run.sh'), '#!/bin/sh\n', { mode: 0o755 });
  await chmod(join(data, 'run.sh'), 0o4755);
  await symlink('logs/events.log', join(data, 'current'));
  await symlink('/nowhere/at/all', join(data, 'dangling'));
  execFileSync('touch', ['-d', '2019-03-04T05:06:07.123456789Z', join(data, 'run.sh'), join(data, 'empty folder')]);
  execFileSync('touch', ['-h', '-d', '1969-12-31T23:59:58.987654321Z', join(data, 'current')]);
  await utimes(data, 1_600_000_000, 1_600_000_000);
}

async function wreck(): Promise<void> {
  const data = join(ctx.root, 'data');
  await rm(join(ctx.root, '.env'));
  await truncate(join(data, 'logs', 'events.log'), 10);
  await chmod(join(data, 'run.sh'), 0o600);
  await rm(join(data, 'current'));
  await mkdir(join(data, 'current'));
  await writeFile(join(data, 'current', 'new'), 'new');
  await rm(join(data, 'empty folder'), { recursive: true });
}

for (const compress of ['none', 'gzip', 'zstd'] as const) {
  test(`a restore brings back content, modes, times to the nanosecond, links and empty folders (${compress})`, async () => {
    await makeLegacy();
    const before = await fingerprint(ctx.root);
    const snapshot = createSnapshot({ paths: ['.env', 'data'], sqlite: [], compress });
    const summary = await snapshot.take(ctx, 'first');
    expect(summary).toMatchObject({ id: 'first', files: 5 });
    expect(summary.storedBytes < summary.bytes).toBe(compress !== 'none');
    expect(await fingerprint(ctx.root)).toEqual(before);
    expect(await snapshot.verify(ctx, 'first')).toMatchObject([{ outcome: 'PASS', measured: 5 }]);
    expect(await snapshot.compare(ctx, 'first')).toEqual({ changed: [], added: [], missing: [] });

    await wreck();
    const { changed, added, missing } = await snapshot.compare(ctx, 'first');
    expect(changed.sort()).toEqual(['data/current', 'data/logs/events.log', 'data/run.sh']);
    expect(added).toEqual(['data/current/new']);
    expect(missing.sort()).toEqual(['.env', 'data/empty folder']);

    await snapshot.restore(ctx, 'first');
    expect((await fingerprint(ctx.root)).slice(1)).toEqual(before.slice(1));
    expect(await readdir(ctx.root)).toEqual(['.env', 'data']);
    expect(ctx.told.at(-1)).toMatchObject({ what: 'restore', unit: 'bytes' });
  });
}

test('taking the same snapshot again changes nothing', async () => {
  await makeLegacy();
  const snapshot = createSnapshot({ paths: ['data'], sqlite: [], compress: 'none' });
  const first = await snapshot.take(ctx, 'same');
  const stored = await fingerprint(ctx.stateDir);
  await wreck();
  expect(await snapshot.take(ctx, 'same')).toEqual(first);
  expect(await fingerprint(ctx.stateDir)).toEqual(stored);
  expect(await snapshot.list(ctx)).toEqual([first]);
  expect(await snapshot.isTaken(ctx, 'same')).toBe(true);
  await snapshot.drop(ctx, 'same');
  await snapshot.drop(ctx, 'same');
  expect(await snapshot.list(ctx)).toEqual([]);
});

test('a restore of what is as it was touches nothing, and a second one changes nothing', async () => {
  await makeLegacy();
  const snapshot = createSnapshot({ paths: ['data', '.env'], sqlite: [], compress: 'gzip' });
  await snapshot.take(ctx, 's');
  const inode = (await lstat(join(ctx.root, 'data'))).ino;
  await snapshot.restore(ctx, 's');
  expect((await lstat(join(ctx.root, 'data'))).ino).toBe(inode);
});

test('names that are not UTF-8 are kept byte by byte', async () => {
  const data = join(ctx.root, 'data');
  await mkdir(data);
  const name = Buffer.concat([Buffer.from(`${data}/`), Buffer.from([0x66, 0xfc, 0x72, 0xff])]);
  await writeFile(name, 'latin');
  await writeFile(join(data, 'für'), 'utf8');
  const snapshot = createSnapshot({ paths: ['data'], sqlite: [], compress: 'none' });
  await snapshot.take(ctx, 's');
  await rm(data, { recursive: true });
  expect((await snapshot.compare(ctx, 's')).missing).toEqual(['data', 'data/für', 'data/f\\xfcr\\xff']);
  await snapshot.restore(ctx, 's');
  expect(await readFile(name, 'utf8')).toBe('latin');
  expect(await readFile(join(data, 'für'), 'utf8')).toBe('utf8');
});

test('a damaged content fails verification and is never restored', async () => {
  await makeLegacy();
  const snapshot = createSnapshot({ paths: ['data', '.env'], sqlite: [], compress: 'none' });
  await snapshot.take(ctx, 's');
  const objects = join(ctx.stateDir, 'snapshots', 's', 'objects');
  const stored = (await readdir(objects, { recursive: true })).filter((name) => name.includes('/'));
  for (const name of stored) {
    const path = join(objects, name);
    if ((await lstat(path)).size === 4 * 50_000) await writeFile(path, 'x'.repeat(4 * 50_000));
  }
  const [verdict] = await snapshot.verify(ctx, 's');
  expect(verdict).toMatchObject({ outcome: 'FAIL', measured: 5 });
  await wreck();
  const wrecked = await fingerprint(ctx.root);
  await expect(snapshot.restore(ctx, 's')).rejects.toMatchObject({ code: 'CHG_SNAPSHOT_DAMAGED' });
  expect((await fingerprint(ctx.root)).filter((line) => !line.includes('.changeover-restore-')).slice(1)).toEqual(
    wrecked.slice(1),
  );
});

test('a damaged manifest and a missing snapshot are told apart, and neither passes', async () => {
  await makeLegacy();
  const snapshot = createSnapshot({ paths: ['data'], sqlite: [], compress: 'none' });
  expect(await snapshot.verify(ctx, 'absent')).toMatchObject([{ outcome: 'INCONCLUSIVE', measured: 0 }]);
  await expect(snapshot.restore(ctx, 'absent')).rejects.toMatchObject({ code: 'CHG_SNAPSHOT_NOT_TAKEN' });
  await snapshot.take(ctx, 's');
  const manifest = join(ctx.stateDir, 'snapshots', 's', 'manifest.jsonl');
  const text = await readFile(manifest, 'utf8');
  await writeFile(manifest, text.replace('"mode":493', '"mode":511').replace('"mode":2541', '"mode":511'));
  expect(await snapshot.verify(ctx, 's')).toMatchObject([{ outcome: 'FAIL' }]);
  await expect(snapshot.compare(ctx, 's')).rejects.toMatchObject({ code: 'CHG_SNAPSHOT_DAMAGED' });
  await writeFile(manifest, text.slice(0, text.length / 2));
  await expect(snapshot.restore(ctx, 's')).rejects.toMatchObject({ code: 'CHG_SNAPSHOT_DAMAGED' });
  await expect(snapshot.take(ctx, '../escape')).rejects.toMatchObject({ code: 'CHG_SNAPSHOT_ID_INVALID' });
});

test('a snapshot without a file is inconclusive', async () => {
  await mkdir(join(ctx.root, 'void'));
  const snapshot = createSnapshot({ paths: ['void'], sqlite: [], compress: 'none' });
  await snapshot.take(ctx, 's');
  expect(await snapshot.verify(ctx, 's')).toMatchObject([{ outcome: 'INCONCLUSIVE', measured: 0 }]);
});

/** Runs `work` while another process writes; that process ends with it, and by itself after some seconds. */
async function whileWriting(script: string, work: () => Promise<void>): Promise<void> {
  const writer = spawn(process.execPath, [
    '-e',
    `setTimeout(() => process.exit(), 8000);${script}; console.log('writing')`,
  ]);
  try {
    await once(writer.stdout, 'data');
    await work();
  } finally {
    writer.kill('SIGKILL');
    await once(writer, 'close');
  }
}

test('a file that another process keeps appending to is taken with the length it had', async () => {
  const file = join(ctx.root, 'growing.log');
  await writeFile(file, 'line\n'.repeat(400_000));
  const snapshot = createSnapshot({ paths: ['growing.log'], sqlite: [], compress: 'none' });
  let bytes = 0;
  const append = `setInterval(() => require('fs').appendFileSync(${JSON.stringify(file)}, 'line\\n'), 1)`;
  await whileWriting(append, async () => {
    ({ bytes } = await snapshot.take(ctx, 's'));
  });
  expect(bytes % 5).toBe(0);
  await snapshot.restore(ctx, 's');
  expect(await readFile(file, 'utf8')).toBe('line\n'.repeat(bytes / 5));
});

test('a file that is rewritten in place during every copy is refused, and the snapshot is not taken', async () => {
  const file = join(ctx.root, 'torn.bin');
  await writeFile(file, Buffer.alloc(3 << 20));
  let writes = 0;
  const progress = (): void => {
    writes += 1;
    const handle = openSync(file, 'r+');
    writeSync(handle, Buffer.alloc(1 << 20, writes), 0, 1 << 20, (writes % 3) << 20);
    closeSync(handle);
  };
  const snapshot = createSnapshot({ paths: ['torn.bin'], sqlite: [], compress: 'none' });
  const taken = snapshot.take({ ...ctx, report: { ...ctx.report, progress } }, 's');
  await expect(taken).rejects.toMatchObject({ code: 'CHG_SNAPSHOT_UNSTABLE' });
  expect(await snapshot.isTaken(ctx, 's')).toBe(false);
  await snapshot.take(ctx, 's');
  expect(await snapshot.verify(ctx, 's')).toMatchObject([{ outcome: 'PASS' }]);
});

test('an aborted take is resumed without copying again what is right', async () => {
  const data = join(ctx.root, 'data');
  await mkdir(data);
  for (let file = 0; file < 40; file += 1) await writeFile(join(data, `f${file}`), `content ${file}`);
  const stop = new AbortController();
  const report = {
    ...ctx.report,
    progress: ({ done }: Progress) => {
      if (done > 150) stop.abort();
    },
  };
  const snapshot = createSnapshot({ paths: ['data'], sqlite: [], compress: 'none' });
  await expect(snapshot.take({ ...ctx, signal: stop.signal, report }, 's')).rejects.toThrow(/abort/i);
  expect(await snapshot.isTaken(ctx, 's')).toBe(false);
  const objects = join(ctx.stateDir, 'snapshots', 's', 'objects');
  const kept = await fingerprint(objects);
  await writeFile(join(data, 'f0'), 'changed 0'); // same length
  await snapshot.take(ctx, 's');
  const now = await fingerprint(objects);
  const contents = kept.filter((line) => !/ 40\d\d\d /.test(line));
  expect(contents.length).toBeGreaterThan(8);
  expect(now).toEqual(expect.arrayContaining(contents));
  await writeFile(join(data, 'f0'), 'broken');
  await snapshot.restore(ctx, 's');
  expect(await readFile(join(data, 'f0'), 'utf8')).toBe('changed 0');
});

test('a take under the same id with another definition starts afresh', async () => {
  await makeLegacy();
  const stop = AbortSignal.abort();
  await expect(
    createSnapshot({ paths: ['data'], sqlite: [], compress: 'none' }).take({ ...ctx, signal: stop }, 's'),
  ).rejects.toThrow();
  const other = createSnapshot({ paths: ['.env'], sqlite: [], compress: 'gzip' });
  await other.take(ctx, 's');
  expect(await other.verify(ctx, 's')).toMatchObject([{ outcome: 'PASS', measured: 1 }]);
});

test('a state folder inside a backed-up folder is left out, survives the restore, and is warned about', async () => {
  await makeLegacy();
  ctx = contextOf(ctx.root, join(ctx.root, '.changeover'));
  await mkdir(ctx.stateDir);
  await writeFile(join(ctx.stateDir, 'journal.db'), 'precious');
  const snapshot = createSnapshot({ paths: ['.'], sqlite: [], compress: 'none' });
  const findings = await snapshot.check(ctx);
  expect(findings.find(({ level }) => level === 'warning')?.message).toMatch(/state folder .* is left out/);
  const before = (await fingerprint(ctx.root)).filter((line) => !line.startsWith('/.changeover'));
  await snapshot.take(ctx, 's');
  await wreck();
  await writeFile(join(ctx.root, 'added'), 'later');
  expect((await snapshot.compare(ctx, 's')).added.sort()).toEqual(['./added', './data/current/new']);
  await snapshot.restore(ctx, 's');
  expect((await fingerprint(ctx.root)).filter((line) => !line.startsWith('/.changeover')).slice(1)).toEqual(
    before.slice(1),
  );
  expect(await readFile(join(ctx.stateDir, 'journal.db'), 'utf8')).toBe('precious');
});

test('a path that is a symlink stands for what it leads to, and the link stays', async () => {
  const real = join(temp.path, 'elsewhere');
  await mkdir(real);
  await writeFile(join(real, 'a'), 'a');
  await symlink(real, join(ctx.root, 'data'));
  const snapshot = createSnapshot({ paths: ['data', 'data/a'], sqlite: [], compress: 'none' });
  expect((await snapshot.check(ctx)).some(({ message }) => message.includes('is a symlink'))).toBe(true);
  expect(await snapshot.take(ctx, 's')).toMatchObject({ files: 1 });
  await rm(real, { recursive: true });
  await snapshot.restore(ctx, 's');
  expect(await readFile(join(ctx.root, 'data', 'a'), 'utf8')).toBe('a');
  expect((await lstat(join(ctx.root, 'data'))).isSymbolicLink()).toBe(true);
});

test('check names what is missing, unreadable as SQLite, special, leading outside and too large', async () => {
  await makeLegacy();
  execFileSync('mkfifo', [join(ctx.root, 'data', 'pipe')]);
  await writeFile(join(ctx.root, 'text.db'), 'no database');
  const database = new DatabaseSync(join(ctx.root, 'data', 'plain.db'));
  database.exec('CREATE TABLE t(a)');
  database.close();
  await mkdir(ctx.stateDir);
  await writeFile(join(ctx.root, 'huge'), '');
  await truncate(join(ctx.root, 'huge'), 2 ** 42); // sparse
  const snapshot = createSnapshot({
    paths: ['data', 'typo', 'huge', '../state'],
    sqlite: ['text.db'],
    compress: 'none',
  });
  const said = (await snapshot.check(ctx))
    .map(({ level, about, message }) => `${level} ${about}: ${message}`)
    .join('\n');
  expect(said).toMatch(/error backup typo: The backup names typo, but nothing is at/);
  expect(said).toMatch(/error backup text.db: .*no SQLite database/);
  expect(said).toMatch(/warning backup data: sockets, pipes or devices.*data\/pipe/);
  expect(said).toMatch(/warning backup data: symlinks that lead out.*data\/dangling/);
  expect(said).toMatch(/warning backup data\/plain.db: SQLite without WAL/);
  expect(said).toMatch(/error backup ..\/state: .*lies in the state folder/);
  expect(said).toMatch(/error backup space: 4.0 TiB to back up.*twice/);
  await expect(snapshot.take(ctx, 's')).rejects.toMatchObject({ code: 'CHG_SNAPSHOT_PATH_MISSING' });
});

test('a pipe in the tree neither hangs nor fails the take', async () => {
  await makeLegacy();
  execFileSync('mkfifo', [join(ctx.root, 'data', 'pipe')]);
  const snapshot = createSnapshot({ paths: ['data'], sqlite: [], compress: 'none' });
  await snapshot.take(ctx, 's');
  expect(ctx.warned.join()).toMatch(/data\/pipe is a socket, pipe or device/);
  expect((await snapshot.compare(ctx, 's')).added).toEqual(['data/pipe']);
});

test('thousands of files and a deep tree come back', async () => {
  const data = join(ctx.root, 'data');
  let deep = data;
  for (let level = 0; level < 60; level += 1) deep = join(deep, `level ${level}`);
  await mkdir(deep, { recursive: true });
  for (let file = 0; file < 500; file += 1) await writeFile(join(file % 2 ? deep : data, `f${file}`), String(file % 7));
  const snapshot = createSnapshot({ paths: ['data'], sqlite: [], compress: 'none' });
  expect(await snapshot.take(ctx, 's')).toMatchObject({ files: 500, storedBytes: 7 });
  await rm(data, { recursive: true });
  await appendFile(join(ctx.root, 'other'), 'stays');
  await snapshot.restore(ctx, 's');
  expect(await snapshot.compare(ctx, 's')).toEqual({ changed: [], added: [], missing: [] });
  expect(existsSync(join(dirname(data), 'other'))).toBe(true);
  expect(basename(data)).toBe('data');
});
