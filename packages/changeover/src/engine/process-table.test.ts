import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { describeProcess, entryOf, familyOf, isAlive, listenerOf, startTimeOf } from './process-table.ts';

const children: ChildProcess[] = [];
afterEach(async () => {
  for (const child of children.splice(0)) {
    if (child.exitCode !== null || child.signalCode !== null) continue;
    child.kill('SIGKILL');
    await once(child, 'exit');
  }
});

function start(...argv: [string, ...string[]]): number {
  const [program, ...args] = argv;
  const child = spawn(program, args, { stdio: 'ignore' });
  children.push(child);
  if (child.pid === undefined) throw new Error(`${program} could not be started`);
  return child.pid;
}

test('a process is alive under its own start time only, and dead once it is a zombie', async () => {
  const pid = start('sleep', '60');
  const startTime = startTimeOf(pid);
  if (startTime === null) throw new Error('no start time');
  expect(isAlive({ pid, startTime })).toBe(true);
  expect(isAlive({ pid, startTime: `${startTime}0` })).toBe(false);
  process.kill(pid, 'SIGKILL');
  // Nobody reaps it while this loop runs.
  while (isAlive({ pid, startTime }));
  expect(startTimeOf(pid)).toBeNull();
  await new Promise(setImmediate);
});

test.each([0, -1, 1.5, Number.NaN, 2 ** 40])('%d is no process', (pid) => {
  expect(startTimeOf(pid)).toBeNull();
});

test('a name with spaces, parentheses and line ends does not confuse the table', async () => {
  const pid = start(process.execPath, '-e', "process.title = 'x) Z 1 (\\n)'; setInterval(() => {}, 1000)");
  await expect.poll(() => entryOf(pid)?.parent).toBe(process.pid);
  expect(entryOf(pid)?.isStopped).toBe(false);
});

test('a family is a process with all that descends from it', async () => {
  const pid = start('sh', '-c', 'sh -c "sleep 60 & wait" & wait');
  await expect.poll(() => familyOf(pid).length).toBe(3);
  for (const { pid: member } of familyOf(pid).slice(1)) process.kill(member, 'SIGKILL');
});

test('who listens on a port is found, on IPv4 and IPv6, and nobody on a free one', async () => {
  for (const host of ['127.0.0.1', '::1', '0.0.0.0', '::']) {
    const server = createServer().listen(0, host);
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    expect(listenerOf(port), host).toEqual({ isListening: true, pid: process.pid });
    server.close();
    await once(server, 'close');
    expect(listenerOf(port), host).toEqual({ isListening: false, pid: null });
  }
});

test('of processes that share a listening socket the master is told', async () => {
  const cluster = `
    const server = require('net').createServer().listen(0, '127.0.0.1', () => {
      const child = require('child_process').spawn('sleep', ['60'], { stdio: ['ignore', 'ignore', 'ignore', server._handle] });
      console.log(server.address().port, child.pid);
    });`;
  const child = spawn(process.execPath, ['-e', cluster], { stdio: ['ignore', 'pipe', 'inherit'] });
  children.push(child);
  const [line] = (await once(child.stdout, 'data')) as [Buffer];
  const [port, sharer] = line.toString().trim().split(' ').map(Number);
  expect(listenerOf(port ?? 0)).toEqual({ isListening: true, pid: child.pid });
  process.kill(sharer ?? 0, 'SIGKILL');
});

test('a process is described by its command line', () => {
  expect(describeProcess(process.pid)).toMatch(`process ${process.pid} (`);
  expect(describeProcess(2 ** 30)).toBe(`process ${2 ** 30}`);
});
