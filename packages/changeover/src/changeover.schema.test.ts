import { execFile } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { openSqlite, testSqlite } from './testing/databases.ts';
import { freePort } from './testing/ports.ts';
import { tempFolder } from './testing/temp.ts';

const BIN = fileURLToPath(new URL('../bin/changeover.js', import.meta.url));
const LIBRARY = new URL('./changeover.ts', import.meta.url).href;

/** Answers with the number of notes; without its table it does not start. */
const SERVER = `
import { createServer } from 'node:http';
import { DatabaseSync } from 'node:sqlite';
const [file, port] = process.argv.slice(2);
const db = new DatabaseSync(file, { timeout: 5000 });
const count = db.prepare('SELECT count(*) AS notes FROM notes');
createServer((_, response) => response.end(JSON.stringify(count.get()))).listen(Number(port), '127.0.0.1');
`;

it(
  'a whole move makes the new tables, a rollback takes them away, and after finish they stay',
  { timeout: 180_000 },
  async () => {
    await using temp = await tempFolder();
    const [gateway, old, fresh] = [await freePort(), await freePort(), await freePort()];
    await mkdir(path.join(temp.path, 'data'));
    await using legacy = testSqlite(path.join(temp.path, 'data'), 'old.db', 5000);
    await legacy.exec(`
    CREATE TABLE notes (id INTEGER PRIMARY KEY AUTOINCREMENT, body TEXT NOT NULL, tag TEXT UNIQUE, at DATETIME);
    INSERT INTO notes (body, tag, at) VALUES ('one', 'a', '2024-01-01'), ('two', NULL, NULL);`);
    await writeFile(path.join(temp.path, 'server.mjs'), SERVER);
    const unit = (file: string, port: number) =>
      `command('"${process.execPath}" server.mjs ${file} ${port}', { url: 'http://127.0.0.1:${port}', health: '/' })`;
    await writeFile(
      path.join(temp.path, 'changeover.config.ts'),
      `import { command, defineChangeover, sqlite, sync } from '${LIBRARY}';
     export default defineChangeover({
       name: 'notes',
       legacy: { units: [${unit('data/old.db', old)}] },
       next: { units: [${unit('data/new/new.db', fresh)}] },
       gateway: { listen: '127.0.0.1:${gateway}', workers: 1 },
       data: [sync({ name: 'main', from: sqlite('data/old.db', { busyTimeoutMs: 5000 }), to: sqlite('data/new/new.db'), tables: { notes: {} }, schema: 'create' })],
     });`,
    );
    const changeover = (...args: string[]) =>
      new Promise<{ code: number; out: string }>((resolve) => {
        const env = { ...process.env, NODE_OPTIONS: '--conditions=@changeover/source' };
        const child = execFile(
          process.execPath,
          [BIN, ...args, '--yes'],
          { cwd: temp.path, env },
          (_error, out, err) => {
            resolve({ code: child.exitCode ?? -1, out: out + err });
          },
        );
        child.stdin?.end();
      });
    const succeed = async (...args: string[]) => {
      const { code, out } = await changeover(...args);
      expect(code, out).toBe(0);
      return out;
    };
    const file = path.join(temp.path, 'data/new/new.db');
    const schema = async () => {
      await using db = openSqlite(file, 5000);
      return (await db.all("SELECT name FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%' ORDER BY 1")).map(
        ({ name }) => name,
      );
    };

    try {
      expect(await succeed('plan', '--full')).toMatch(/notes\.at +DATETIME → DATETIME +exact: the same type/);
      await succeed('run');
      expect(await schema()).toContain('notes');
      await succeed('rollback');
      expect(existsSync(file)).toBe(false);
      await succeed('run');
      await succeed('cutover');
      const answer = await fetch(`http://127.0.0.1:${gateway}/`);
      expect(await answer.json()).toEqual({ notes: 2 });
      await succeed('finish');
      expect(await schema()).toEqual(['notes']);
    } finally {
      await changeover('rollback');
      await changeover('finish');
      await changeover('uninstall');
      for (const port of [old, fresh]) stopServer(port, temp.path);
    }
  },
);

/** The side that serves goes on after everything; nobody else runs this file from this folder. */
function stopServer(port: number, folder: string): void {
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      const line = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
      if (line.includes('server.mjs') && line.includes(String(port)) && readlinkSync(`/proc/${pid}/cwd`) === folder)
        process.kill(Number(pid), 'SIGTERM');
    } catch (error) {
      if (!['ENOENT', 'ESRCH', 'EACCES'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
    }
  }
}
