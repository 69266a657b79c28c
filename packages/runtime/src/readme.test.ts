import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { freePort } from 'changeover/testing';
import { expect, test } from 'vitest';

const PACKAGE = path.join(import.meta.dirname, '..');

test("the README's first service has ten lines, answers, and ends when it is told to", async () => {
  const readme = await readFile(path.join(PACKAGE, 'README.md'), 'utf8');
  const [, code = ''] = /^```ts\n(.*?)^```$/ms.exec(readme) ?? [];
  expect(code.split('\n').filter((line) => line.trim() !== '')).toHaveLength(10);
  const port = await freePort();
  // Below the package, where programs find it by its name.
  const folder = await mkdtemp(path.join(PACKAGE, 'readme-'));
  try {
    const file = path.join(folder, 'service.ts');
    await writeFile(file, code.replace('8080', String(port)));
    using child = spawn(process.execPath, ['--conditions=@changeover/source', file], { stdio: 'ignore' });
    const ended = once(child, 'exit');
    const url = `http://127.0.0.1:${port}`;
    await expect.poll(() => fetch(`${url}/hello`).then((answer) => answer.json(), String)).toEqual({ hello: 'world' });
    for (const at of ['/health', '/health/live', '/health/ready', '/health/service/api', '/metrics'])
      expect([at, (await fetch(url + at)).status]).toEqual([at, 200]);
    child.kill('SIGTERM');
    expect(await ended).toEqual([0, null]);
  } finally {
    await rm(folder, { recursive: true });
  }
});
