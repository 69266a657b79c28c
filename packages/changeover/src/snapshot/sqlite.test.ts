import { execFileSync } from 'node:child_process';
import { lstat, mkdir, readdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { Context } from '../plan/context.ts';
import { testContext } from '../testing/context.ts';
import { tempFolder } from '../testing/temp.ts';
import type { TempFolder } from '../testing/temp.ts';
import { createSnapshot } from './index.ts';

let temp: TempFolder;
let ctx: Context;

beforeEach(async () => {
  temp = await tempFolder();
  ctx = testContext(temp.path);
  await mkdir(ctx.root);
});
afterEach(() => temp.remove());

test('what is only in the WAL is in the snapshot, and the live database is left as it was', async () => {
  const file = join(ctx.root, 'app.db');
  const live = new DatabaseSync(file);
  live.exec(
    'PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0; CREATE TABLE t(a); INSERT INTO t VALUES (1),(2),(3)',
  );
  const size = (await lstat(file)).size;
  const snapshot = createSnapshot({ paths: [], sqlite: ['app.db'], compress: 'zstd' });
  await snapshot.take(ctx, 's');
  expect((await lstat(file)).size).toBe(size);
  expect(await snapshot.compare(ctx, 's')).toEqual({ changed: [], added: [], missing: [] });
  live.exec('INSERT INTO t VALUES (4)');
  expect((await snapshot.compare(ctx, 's')).changed).toEqual(['app.db']);
  live.exec('DELETE FROM t WHERE a = 4');
  live.close();

  // a WAL of another life beside the restored database would be replayed into it
  const other = new DatabaseSync(file);
  other.exec('PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0; DROP TABLE t; CREATE TABLE u(b)');
  await rename(`${file}-wal`, `${file}-kept`);
  other.close();
  await rename(`${file}-kept`, `${file}-wal`);
  await snapshot.restore(ctx, 's');
  expect(await readdir(ctx.root)).toEqual(['app.db']);
  const restored = new DatabaseSync(file);
  expect(restored.prepare('SELECT a FROM t ORDER BY a').all()).toEqual([{ a: 1 }, { a: 2 }, { a: 3 }]);
  restored.close();
  expect(await snapshot.compare(ctx, 's')).toEqual({ changed: [], added: [], missing: [] });
});

test('an idle WAL database gets no sidecars from being copied, and a database in a folder is found by its name', async () => {
  const data = join(ctx.root, 'data');
  await mkdir(data);
  const live = new DatabaseSync(join(data, 'x.sqlite'));
  live.exec('PRAGMA journal_mode=WAL; CREATE TABLE t(a); INSERT INTO t VALUES (1)');
  live.close();
  await writeFile(join(data, 'not-sqlite.db'), 'text');
  expect(await readdir(data)).toEqual(['not-sqlite.db', 'x.sqlite']);
  const snapshot = createSnapshot({ paths: ['data'], sqlite: [], compress: 'none' });
  await snapshot.take(ctx, 's');
  expect(await snapshot.compare(ctx, 's')).toEqual({ changed: [], added: [], missing: [] });
  expect(await readdir(data)).toEqual(['not-sqlite.db', 'x.sqlite']);
});

test('copying a database does not drop the locks that this process holds on it', async () => {
  const file = join(ctx.root, 'locked.db');
  const live = new DatabaseSync(file);
  live.exec('CREATE TABLE t(a)');
  live.exec('BEGIN IMMEDIATE');
  const snapshot = createSnapshot({ paths: ['locked.db'], sqlite: [], compress: 'none' });
  await snapshot.take(ctx, 's');
  await snapshot.compare(ctx, 's');
  const write = `try { new (require('node:sqlite').DatabaseSync)(${JSON.stringify(file)}).exec('BEGIN IMMEDIATE'); console.log('dropped') } catch (e) { console.log('held') }`;
  expect(execFileSync(process.execPath, ['-e', write], { encoding: 'utf8' }).trim()).toBe('held');
  live.close();
});

test('a database that SQLite cannot read any more can still be restored', async () => {
  const file = join(ctx.root, 'app.db');
  const live = new DatabaseSync(file);
  live.exec('CREATE TABLE t(a); INSERT INTO t VALUES (7)');
  live.close();
  const snapshot = createSnapshot({ paths: [], sqlite: ['app.db'], compress: 'none' });
  await snapshot.take(ctx, 's');
  const bytes = await readFile(file);
  await writeFile(file, Buffer.concat([bytes.subarray(0, 16), Buffer.alloc(bytes.length - 16, 0xee)]));
  expect((await snapshot.compare(ctx, 's')).changed).toEqual(['app.db']);
  await snapshot.restore(ctx, 's');
  const restored = new DatabaseSync(file);
  expect(restored.prepare('SELECT a FROM t').all()).toEqual([{ a: 7 }]);
  restored.close();
});
