import { execFile } from 'node:child_process';
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { testSqlite } from './testing/databases.ts';
import { freePort } from './testing/ports.ts';
import { tempFolder } from './testing/temp.ts';

const BIN = fileURLToPath(new URL('../bin/changeover.js', import.meta.url));
const LIBRARY = new URL('./changeover.ts', import.meta.url).href;
const ROWS = 6000;

it('a run with a rate tells in its progress and in status what holds it back', { timeout: 120_000 }, async () => {
  await using temp = await tempFolder();
  await mkdir(path.join(temp.path, 'data'));
  await using legacy = testSqlite(path.join(temp.path, 'data'), 'old.db', 5000);
  await legacy.exec(`CREATE TABLE notes (id INTEGER PRIMARY KEY, body TEXT);
    WITH RECURSIVE n (id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n WHERE id < ${ROWS}) INSERT INTO notes SELECT id, 'note ' || id FROM n`);
  await using next = testSqlite(path.join(temp.path, 'data'), 'new.db', 5000);
  await next.exec('CREATE TABLE notes (id INTEGER PRIMARY KEY, body TEXT)');
  const unit = (port: number) =>
    `command('"${process.execPath}" server.mjs ${port}', { url: 'http://127.0.0.1:${port}' })`;
  await writeFile(
    path.join(temp.path, 'changeover.config.ts'),
    `import { command, defineChangeover, sqlite, sync } from '${LIBRARY}';
     export default defineChangeover({
       name: 'notes',
       legacy: { units: [${unit(await freePort())}] },
       next: { units: [${unit(await freePort())}] },
       gateway: { listen: '127.0.0.1:${await freePort()}', workers: 1 },
       throttle: { maxRate: '1rows' },
       data: [sync({ name: 'main', from: sqlite('data/old.db', { busyTimeoutMs: 5000 }), to: sqlite('data/new.db', { busyTimeoutMs: 5000 }), tables: { notes: {} } })],
     });`,
  );
  const changeover = (...args: string[]) =>
    new Promise<{ code: number; out: string; err: string }>((resolve) => {
      const env = { ...process.env, NODE_OPTIONS: '--conditions=@changeover/source' };
      const child = execFile(process.execPath, [BIN, ...args, '--yes'], { cwd: temp.path, env }, (_error, out, err) => {
        resolve({ code: child.exitCode ?? -1, out, err });
      });
      child.stdin?.end();
    });

  const wrong = await changeover('run', '--max-rate', '20mb');
  expect(wrong.code).toBe(2);
  expect(wrong.err).toContain('"20mb" is not a rate: expected rows or bytes in a second, such as 5000rows or 20MB');
  try {
    const state = { hasEnded: false };
    const running = changeover('run', '--until', 'data', '--max-rate', '1500rows').finally(
      () => (state.hasEnded = true),
    );
    const held: (string | null)[] = [];
    while (!state.hasEnded && (held.at(-1) ?? null) === null) {
      const { out } = await changeover('status', '--json');
      const { status } = JSON.parse(out) as { status: { heldBack: string | null } };
      held.push(status.heldBack);
    }
    expect(held.at(-1)).toBe('the rate of at most 1500 rows/s');
    const { code, out } = await running;
    expect(code, out).toBe(0);
    // In a pipe: one line every two seconds.
    expect(out).toMatch(
      /data: notes [\d,]+ rows of 6,000 rows, [\d.]+ k?B of about [\d.]+ kB, .*held back by the rate of at most 1500 rows\/s/,
    );
    const [{ rows } = { rows: 0 }] = await next.all('SELECT count(*) AS rows FROM notes');
    expect(rows).toBe(ROWS);
    const after = await changeover('status', '--json');
    expect(JSON.parse(after.out)).toMatchObject({ status: { heldBack: null } });
  } finally {
    await changeover('rollback');
    await changeover('uninstall');
  }
});
