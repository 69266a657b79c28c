import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { testSqlite } from './testing/databases.ts';
import { freePort } from './testing/ports.ts';
import { tempFolder } from './testing/temp.ts';

const BIN = fileURLToPath(new URL('../bin/changeover.js', import.meta.url));
const LIBRARY = new URL('./changeover.ts', import.meta.url).href;

/** Keeps the streams of each network: POST adds one under its title, GET lists them. Says which side it is. */
const SERVER = `
import { createServer } from 'node:http';
import { DatabaseSync } from 'node:sqlite';
const [file, port, side] = process.argv.slice(2);
const db = new DatabaseSync(file, { timeout: 5000 });
createServer((request, response) => {
  response.setHeader('X-Side', side);
  const network = request.headers['x-network'] ?? '';
  const title = decodeURIComponent(request.url.slice(1));
  try {
    if (request.method === 'POST')
      db.prepare('INSERT INTO streams VALUES (?, ?, ?)').run(network + '-' + title, network, title);
    const rows = db.prepare('SELECT title FROM streams WHERE network_id = ? ORDER BY id').all(network);
    response.end(JSON.stringify(rows.map((row) => row.title)));
  } catch (error) {
    response.statusCode = 500;
    response.end(String(error));
  }
}).listen(Number(port), '127.0.0.1', () => console.log('listening'));
`;
const SCHEMA = 'CREATE TABLE streams (id TEXT PRIMARY KEY NOT NULL, network_id TEXT NOT NULL, title TEXT NOT NULL)';

/** A client of one network that adds a stream again and again. */
class Client {
  readonly acknowledged: string[] = [];
  readonly failures: string[] = [];
  readonly sides = new Set<string>();
  readonly #url: string;
  readonly #network: string;
  readonly #ending = new AbortController();
  readonly #ended: Promise<void>;

  constructor(url: string, network: string) {
    this.#url = url;
    this.#network = network;
    this.#ended = this.#go();
  }

  async side(): Promise<string> {
    const answer = await fetch(`${this.#url}/`, { headers: { 'x-network': this.#network } });
    const text = await answer.text();
    return answer.ok ? (answer.headers.get('x-side') ?? '') : `${answer.status} ${text}`;
  }

  async rows(): Promise<string[]> {
    const answer = await fetch(`${this.#url}/`, { headers: { 'x-network': this.#network } });
    return (await answer.json()) as string[];
  }

  async end(): Promise<void> {
    this.#ending.abort();
    await this.#ended;
  }

  async #go(): Promise<void> {
    for (let turn = 1; !this.#ending.signal.aborted; turn++) {
      const title = `t${String(turn).padStart(6, '0')}`;
      const answer = await fetch(`${this.#url}/${title}`, { method: 'POST', headers: { 'x-network': this.#network } });
      const text = await answer.text();
      if (answer.ok) this.acknowledged.push(title);
      else this.failures.push(`${answer.status} ${text}`);
      this.sides.add(answer.headers.get('x-side') ?? '');
      await sleep(10);
    }
  }
}

it(
  'moves one network at a time while all of them are written to, with kills, back and there again',
  { timeout: 300_000 },
  async () => {
    await using temp = await tempFolder();
    const [port, old, fresh] = [await freePort(), await freePort(), await freePort()];
    await mkdir(path.join(temp.path, 'data'));
    await using legacy = testSqlite(path.join(temp.path, 'data'), 'old.db', 5000);
    await using next = testSqlite(path.join(temp.path, 'data'), 'new.db', 5000);
    await legacy.exec(`${SCHEMA}; INSERT INTO streams VALUES ('a-0', 'a', '0'), ('b-0', 'b', '0')`);
    await next.exec(SCHEMA);
    await writeFile(path.join(temp.path, 'server.mjs'), SERVER);
    const unit = (side: string, at: number) =>
      `command('"${process.execPath}" server.mjs data/${side === 'legacy' ? 'old' : 'new'}.db ${at} ${side}', { url: 'http://127.0.0.1:${at}', health: '/' })`;
    await writeFile(
      path.join(temp.path, 'changeover.config.ts'),
      `import { command, defineChangeover, sqlite, sync } from '${LIBRARY}';
     const store = (file) => sqlite(file, { busyTimeoutMs: 5000 });
     export default defineChangeover({
       name: 'networks',
       legacy: { units: [${unit('legacy', old)}] },
       next: { units: [${unit('next', fresh)}] },
       gateway: { listen: '127.0.0.1:${port}', workers: 2, tenant: { header: 'X-Network' } },
       data: [sync({ name: 'main', from: store('data/old.db'), to: store('data/new.db'), tables: { streams: {} }, slices: { column: 'network_id' } })],
     });`,
    );
    // The legacy is there before anybody thinks of moving it.
    const running = spawn(process.execPath, ['server.mjs', 'data/old.db', String(old), 'legacy'], { cwd: temp.path });
    await once(running.stdout, 'data');
    const changeover = (args: readonly string[], env: NodeJS.ProcessEnv = {}) =>
      new Promise<{ code: number | null; out: string }>((resolve) => {
        const child = execFile(
          process.execPath,
          [BIN, ...args, '--yes'],
          { cwd: temp.path, env: { ...process.env, NODE_OPTIONS: '--conditions=@changeover/source', ...env } },
          (_error, out, err) => {
            resolve({ code: child.exitCode, out: out + err });
          },
        );
        child.stdin?.end();
      });
    const succeed = async (...args: string[]) => {
      const { code, out } = await changeover(args);
      expect(code, `${args.join(' ')}: ${out}`).toBe(0);
      return out;
    };
    const refuse = async (...args: string[]) => {
      const { code, out } = await changeover(args);
      expect(code, out).not.toBe(0);
      return out;
    };
    const clients: Client[] = [];
    try {
      expect(await refuse('run', '--slice', 'a')).toContain('`changeover run` comes first');
      await succeed('run');
      expect(await refuse('run', '--slice', 'c')).toContain('the legacy has no row of it; it has rows of a, b');
      const url = `http://127.0.0.1:${port}`;
      const [a, b] = [new Client(url, 'a'), new Client(url, 'b')];
      clients.push(a, b);

      await succeed('run', '--slice', 'a');
      expect(await refuse('run', '--slice', 'b')).toContain('slice a is ready');
      for (const point of ['cutover.LOCK.journaled', 'data.fence.committed', 'cutover.FENCE.done']) {
        const { code, out } = await changeover(['cutover', '--slice', 'a'], { CHANGEOVER_FAULT: `${point}:kill` });
        expect(code, out).toBe(null);
        // The keeper sees that its runner is gone; until then the requests of a wait, and those of b do not.
        expect(await a.side()).toBe('legacy');
        expect(await b.side()).toBe('legacy');
      }
      await succeed('cutover', '--slice', 'a');
      expect([await a.side(), await b.side()]).toEqual(['next', 'legacy']);
      const shown = await succeed('status');
      expect(shown).toMatch(/a +live +served by next/);
      expect(await refuse('cutover')).toContain('not there yet: b');
      expect(await refuse('rollback')).toContain('slice a is live');
      await succeed('verify', '--slice', 'a');

      await changeover(['rollback', '--slice', 'a'], { CHANGEOVER_FAULT: 'cutover.RB_OPEN.journaled:kill' });
      expect(await a.side()).toBe('legacy');
      await succeed('rollback', '--slice', 'a');
      expect(await next.all('SELECT * FROM streams')).toEqual([]);

      await succeed('run', '--slice', 'b', '--through');
      expect([await a.side(), await b.side()]).toEqual(['legacy', 'next']);
      await succeed('run', '--slice', 'a', '--through');
      expect([await a.side(), await b.side()]).toEqual(['next', 'next']);
      for (const client of clients) {
        await client.end();
        expect(client.failures).toEqual([]);
        expect([...client.sides].sort()).toEqual(['legacy', 'next']);
        expect(await client.rows()).toEqual(['0', ...client.acknowledged]);
        expect(client.acknowledged.length).toBeGreaterThan(50);
      }
      await succeed('cutover');
      const nobodys = await fetch(url);
      expect(nobodys.headers.get('x-side')).toBe('next');
      for (const slice of ['a', 'b']) await succeed('finish', '--slice', slice);
      await succeed('finish');
      expect(await legacy.all("SELECT name FROM sqlite_schema WHERE name LIKE 'changeover%'")).toEqual([]);
    } finally {
      for (const client of clients) await client.end();
      for (const slice of ['a', 'b']) await changeover(['rollback', '--slice', slice]);
      await changeover(['rollback']);
      await changeover(['uninstall']);
      for (const at of [old, fresh]) stopServer(at, temp.path);
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
