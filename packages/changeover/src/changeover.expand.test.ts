import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import path from 'node:path';
import { expect, it } from 'vitest';
import { testPostgres } from './testing/databases.ts';
import { freePort } from './testing/ports.ts';
import { startPostgres } from './testing/postgres.ts';
import { tempFolder } from './testing/temp.ts';

const BIN = fileURLToPath(new URL('../bin/changeover.js', import.meta.url));
const LIBRARY = new URL('./changeover.ts', import.meta.url).href;
const PG = fileURLToPath(new URL('../../../node_modules/pg/lib/index.js', import.meta.url));

/** POST /?NAME adds a user and answers with its id, GET counts them. The old version knows first and last, the new one full_name. */
const SERVER = `
import { createServer } from 'node:http';
import pg from '${PG}';
const [side, port, address] = process.argv.slice(2);
const pool = new pg.Pool({ connectionString: address, max: 4 });
const add = (name) => side === 'old'
  ? pool.query('INSERT INTO users (first, last) VALUES ($1, $2) RETURNING id', name.split(' '))
  : pool.query('INSERT INTO users (full_name) VALUES ($1) RETURNING id', [name]);
createServer(async (request, response) => {
  try {
    const name = decodeURIComponent(request.url.split('?')[1] ?? '');
    if (request.method === 'POST') response.end(JSON.stringify((await add(name)).rows[0]));
    else response.end(JSON.stringify({ side }));
  } catch (error) {
    response.writeHead(500).end(error.message);
  }
}).listen(Number(port), '127.0.0.1', () => console.log('ready'));
`;

it(
  'a plan with nothing but an expansion goes over, back and over again with its applications writing, and contracts at the end',
  { timeout: 240_000 },
  async () => {
    await using temp = await tempFolder();
    const server = await startPostgres();
    await using db = await testPostgres(server.url);
    const [gateway, old, fresh] = [await freePort(), await freePort(), await freePort()];
    await db.exec(`
      CREATE TABLE users (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, first text NOT NULL, last text NOT NULL);
      INSERT INTO users (first, last) SELECT 'f' || i, 'l' || i FROM generate_series(1, 500) AS i`);
    await writeFile(path.join(temp.path, 'server.mjs'), SERVER);
    const unit = (side: string, port: number) =>
      `command('"${process.execPath}" server.mjs ${side} ${port} ${db.address}', { url: 'http://127.0.0.1:${port}', health: '/' })`;
    await writeFile(
      path.join(temp.path, 'changeover.config.ts'),
      `import { command, defineChangeover, expand, postgres } from '${LIBRARY}';
       export default defineChangeover({
         name: 'users',
         legacy: { units: [${unit('old', old)}] },
         next: { units: [${unit('new', fresh)}] },
         gateway: { listen: '127.0.0.1:${gateway}', workers: 1 },
         data: [expand({ name: 'main', in: postgres('${db.address}'), tables: { users: {
           add: { full_name: { type: 'text', notNull: true, up: "first || ' ' || last",
             down: { first: "split_part(full_name, ' ', 1)", last: "split_part(full_name, ' ', 2)" } } },
           drop: ['first', 'last'], indexes: { users_by_name: { on: '(full_name)' } } } } })],
       });`,
    );
    const changeover = (...args: string[]) =>
      new Promise<{ code: number; out: string }>((resolve) => {
        const env = { ...process.env, NODE_OPTIONS: '--conditions=@changeover/source' };
        const options = { cwd: temp.path, env };
        const child = execFile(process.execPath, [BIN, ...args, '--yes'], options, (_error, out, err) => {
          resolve({ code: child.exitCode ?? -1, out: out + err });
        });
        child.stdin?.end();
      });
    const succeed = async (...args: string[]) => {
      const { code, out } = await changeover(...args);
      expect(code, out).toBe(0);
      return out;
    };
    const columns = async () =>
      (
        await db.all(
          "SELECT attname FROM pg_attribute WHERE attrelid = 'users'::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
        )
      ).map(({ attname }) => attname);
    const acknowledged: { id: string; name: string }[] = [];
    const over = new AbortController();
    const client = async () => {
      for (let count = 0; !over.signal.aborted; count++) {
        const name = `n${count} x${count}`;
        const answer = await fetch(`http://127.0.0.1:${gateway}/?${encodeURIComponent(name)}`, { method: 'POST' });
        const text = await answer.text();
        expect(answer.status, text).toBe(200);
        acknowledged.push({ id: (JSON.parse(text) as { id: string }).id, name });
      }
    };
    const expectAcknowledged = async (name: string) => {
      const rows = new Map(
        (await db.all(`SELECT id::text, ${name} AS name FROM users`)).map((row) => [row['id'], row['name']]),
      );
      for (const { id, name } of acknowledged) expect(rows.get(id)).toBe(name);
    };

    try {
      expect(await succeed('plan', '--full')).toMatch(/ADD COLUMN "full_name" text -- lock: ACCESS EXCLUSIVE/);
      const legacy = spawn(process.execPath, ['server.mjs', 'old', String(old), db.address], {
        cwd: temp.path,
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      await once(legacy.stdout, 'data');
      await succeed('run');
      const writing = client();
      // Awaited at the end; what happens before that must not end the process.
      writing.catch(() => undefined);
      await succeed('cutover');
      await succeed('rollback');
      expect(await columns()).toEqual(['id', 'first', 'last']);
      await expectAcknowledged("first || ' ' || last");
      await succeed('run');
      await succeed('cutover');
      expect(await (await fetch(`http://127.0.0.1:${gateway}/`)).json()).toEqual({ side: 'new' });
      await succeed('finish');
      over.abort();
      await writing;
      expect(acknowledged.length).toBeGreaterThan(50);
      expect(await columns()).toEqual(['id', 'full_name']);
      await expectAcknowledged('full_name');
      expect(await db.all("SELECT relname FROM pg_class WHERE relname LIKE '%changeover%'")).toEqual([]);

      // What is asked once more after the end is answered as after any other move.
      for (const verb of ['rollback', 'finish']) {
        const { code, out } = await changeover(verb);
        expect({ code, out }).toMatchObject({
          code: 2,
          out: expect.stringContaining('CHG_ENGINE_NOT_READY') as string,
        });
        expect(out).not.toContain('Before the');
      }
      await succeed('uninstall');
    } finally {
      over.abort();
      await changeover('rollback');
      await changeover('finish');
      await changeover('uninstall');
      for (const port of [old, fresh]) stopServer(port, temp.path);
      await db.close();
      await server.stop();
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
