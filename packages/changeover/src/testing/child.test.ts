import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { isRunning, startChild } from './child.ts';
import { tempFolder } from './temp.ts';

const temp = await tempFolder();
afterAll(() => temp.remove());

async function program(name: string, source: string): Promise<string> {
  const file = path.join(temp.path, name);
  await writeFile(file, source);
  return file;
}

it('a child runs TypeScript on this node, from the sources of the package', async () => {
  const file = await program(
    'source.ts',
    `const text: string = 'node ' + process.versions.node; console.log(text, process.env.NODE_OPTIONS, process.argv[2], process.env.A);`,
  );
  await using child = startChild(file, { args: ['x'], env: { A: 'a' } });
  expect(await child.line(/^node /)).toBe(`node ${process.versions.node} --conditions=@changeover/source x a`);
  expect(await child.exited).toEqual({ code: 0, signal: null });
});

it('a line is found whether it came before or comes later', async () => {
  const file = await program('lines.ts', `console.log('one'); setTimeout(() => console.log('two'), 100);`);
  await using child = startChild(file);
  expect(await child.line(/two/)).toBe('two');
  expect(await child.line(/one/)).toBe('one');
});

it('a child that ends without the line fails at once and shows what it wrote', async () => {
  const file = await program('ends.ts', `console.error('no such thing'); process.exit(3);`);
  await using child = startChild(file);
  await expect(child.line(/never/)).rejects.toThrow(/ended with 3 without a line like \/never\/.*\n.*no such thing/);
  await expect(child.line(/never/)).rejects.toThrow('no such thing');
});

it('a child that never says the line is not waited for without end', async () => {
  const file = await program('silent.ts', `setInterval(() => undefined, 1000);`);
  await using child = startChild(file);
  await expect(child.line(/never/, 100)).rejects.toThrow('ran for 100 ms');
});

it('a killed child is gone when kill resolves, also a stopped one', async () => {
  const file = await program('runs.ts', `console.log('up'); setInterval(() => undefined, 1000);`);
  const child = startChild(file);
  await child.line(/up/);
  await child.kill('SIGSTOP');
  await child.kill();
  expect(isRunning(child.pid)).toBe(false);
  expect(await child.exited).toEqual({ code: null, signal: 'SIGKILL' });
  await child.kill();
});

it('a child does not outlive the process that started it, but a detached process that it started does', async () => {
  const inner = await program('inner.ts', `console.log('inner up'); setInterval(() => undefined, 1000);`);
  const middle = await program(
    'middle.ts',
    `import { startChild } from ${JSON.stringify(path.join(import.meta.dirname, 'child.ts'))};
     import { spawn } from 'node:child_process';
     const child = startChild(${JSON.stringify(inner)});
     await child.line(/up/);
     const detached = spawn(process.execPath, [...process.execArgv, ${JSON.stringify(inner)}], { stdio: 'ignore', detached: true });
     detached.unref();
     console.log('pids', child.pid, detached.pid);`,
  );
  await using outer = startChild(middle);
  const [, pid, detached] = (await outer.line(/^pids/)).split(' ').map(Number);
  if (pid === undefined || detached === undefined) throw new Error('no pids');
  await outer.kill();
  try {
    await expect.poll(() => isRunning(pid)).toBe(false);
    expect(isRunning(detached)).toBe(true);
  } finally {
    process.kill(detached, 'SIGKILL');
  }
});
