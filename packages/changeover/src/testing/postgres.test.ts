import { spawn } from 'node:child_process';
import { once } from 'node:events';
import pg from 'pg';
import { expect, it } from 'vitest';
import { startPostgres } from './postgres.ts';

async function isGone(pid: number): Promise<boolean> {
  for (let tries = 0; tries < 200; tries++) {
    try {
      process.kill(pid, 0);
    } catch {
      return true;
    }
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
  return false;
}

it('answers queries and is gone after stop', async () => {
  const postgres = await startPostgres();
  const client = new pg.Client(postgres.url);
  await client.connect();
  const answer = await client.query<{ sum: number }>('select 1 + 1 as sum');
  expect(answer.rows[0]?.sum).toBe(2);
  await client.end();
  await postgres.stop();
  expect(await isGone(postgres.pid)).toBe(true);
});

it.each(['QUIT', 'KILL'] as const)(
  'has what was committed after a crash by SIG%s, under another process',
  async (signal) => {
    const postgres = await startPostgres();
    const before = postgres.pid;
    const query = async (sql: string) => {
      const client = new pg.Client(postgres.url);
      await client.connect();
      const { rows } = await client.query<{ id: number }>(sql);
      await client.end();
      return rows;
    };
    await query('CREATE TABLE kept (id int); INSERT INTO kept VALUES (7)');
    await postgres.crash(signal);
    expect(postgres.pid).not.toBe(before);
    expect(await query('SELECT id FROM kept')).toEqual([{ id: 7 }]);
    await postgres.stop();
    expect(await isGone(postgres.pid)).toBe(true);
  },
);

it('ends when the process that started it is killed', async () => {
  const code = `import { startPostgres } from ${JSON.stringify(new URL('./postgres.ts', import.meta.url).href)};
    const postgres = await startPostgres(); console.log(postgres.pid); setInterval(() => {}, 1000);`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', code], { stdio: ['ignore', 'pipe', 'inherit'] });
  const [line] = (await once(child.stdout, 'data')) as [Buffer];
  child.kill('SIGKILL');
  expect(await isGone(Number(line.toString()))).toBe(true);
});
