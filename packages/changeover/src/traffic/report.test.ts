import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { expect, it } from 'vitest';

import { tempFolder } from '../testing/index.ts';
import { isAlive, ownIdentity, signalProcess, startTimeOf } from './identity.ts';
import { emptyLedger } from './ledger.ts';
import { acquireLock } from './lock.ts';
import { forgetEnded, readReports, ReportFile } from './report.ts';

it('a report is there from the start, is replaced in place, and survives its writer', async () => {
  await using temp = await tempFolder();
  const file = new ReportFile(temp.path);
  expect(readReports(temp.path).live).toMatchObject([{ pid: process.pid, version: -1, isListening: false }]);
  const ledger = { ...emptyLedger(), accepted: 123_456_789, inFlight: { legacy: 5, next: 7 } };
  const authorityError = `"quoted" \\ and \u00fcml\u00e4uts ${'x'.repeat(5_000)}`;
  file.write({ version: 7, authorityError, isListening: true, ledger });
  const [report] = readReports(temp.path).live;
  expect(report).toMatchObject({ version: 7, isListening: true, ledger });
  expect(report?.authorityError).toMatch(/^\?quoted\? /);
  file.close();
  expect(readReports(join(temp.path, 'nothing'))).toEqual({ live: [], ended: [] });
});

it('a report that is being overwritten is never read half', async () => {
  await using temp = await tempFolder();
  const module = import.meta.resolve('./report.ts');
  const source = `const { ReportFile } = await import('${module}'); const { emptyLedger } = await import('${import.meta.resolve('./ledger.ts')}');
    const file = new ReportFile(${JSON.stringify(temp.path)});
    for (let n = 0; ; n = (n + 1) % 1000000) file.write({ version: n, authorityError: null, isListening: true, ledger: { ...emptyLedger(), accepted: n * 7, completed: n * 7 } });`;
  const writer = new Worker(new URL(`data:text/javascript,${encodeURIComponent(source)}`));
  await expect.poll(() => readReports(temp.path).live[0]?.version ?? -1).toBeGreaterThan(0);
  for (let turn = 0; turn < 3_000; turn += 1) {
    const [report] = readReports(temp.path).live;
    expect([report?.ledger.accepted, report?.ledger.completed]).toEqual([
      (report?.version ?? 0) * 7,
      (report?.version ?? 0) * 7,
    ]);
  }
  await writer.terminate();
});

it('reports of ended workers are kept while they count and forgotten at a fresh start', async () => {
  await using temp = await tempFolder();
  const child = spawn(process.execPath, [
    '--conditions=@changeover/source',
    '--input-type=module',
    '-e',
    `const { ReportFile } = await import('${import.meta.resolve('./report.ts')}'); const { emptyLedger } = await import('${import.meta.resolve('./ledger.ts')}');
     new ReportFile(${JSON.stringify(temp.path)}).write({ version: 3, authorityError: null, isListening: true, ledger: { ...emptyLedger(), accepted: 2, completed: 1 } });`,
  ]);
  await once(child, 'exit');
  expect(readReports(temp.path)).toMatchObject({ live: [], ended: [{ version: 3, ledger: { accepted: 2 } }] });
  forgetEnded(temp.path, 'unused');
  expect(readdirSync(temp.path)).toHaveLength(1);
  forgetEnded(temp.path, 'all');
  expect(readdirSync(temp.path)).toHaveLength(0);
});

it('a process is known by its start, not by its number alone', async () => {
  const own = ownIdentity();
  expect(isAlive(own)).toBe(true);
  expect(isAlive({ ...own, startTime: 'another' })).toBe(false);
  expect(signalProcess({ ...own, startTime: 'another' }, 'SIGKILL')).toBe(false);
  const child = spawn('sleep', ['60']);
  const identity = { pid: child.pid ?? 0, startTime: startTimeOf(child.pid ?? 0) ?? '' };
  expect(signalProcess(identity, 'SIGKILL')).toBe(true);
  await once(child, 'exit');
  expect(isAlive(identity)).toBe(false);
  expect(startTimeOf(identity.pid)).toBeNull();
});

it('a lock has one holder, and death lets it go', async () => {
  await using temp = await tempFolder();
  const path = join(temp.path, 'locks', 'supervisor.lock');
  const child = spawn(
    process.execPath,
    [
      '--conditions=@changeover/source',
      '--input-type=module',
      '-e',
      `const { acquireLock } = await import('${import.meta.resolve('./lock.ts')}'); globalThis.held = acquireLock(${JSON.stringify(path)}); console.log('held'); setInterval(() => {}, 1000);`,
    ],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  await once(child.stdout, 'data');
  expect(acquireLock(path)).toBeNull();
  child.kill('SIGKILL');
  await once(child, 'exit');
  const lock = acquireLock(path);
  expect(lock).not.toBeNull();
  lock?.release();
  acquireLock(path)?.release();
});

it('a damaged report is never taken for no worker, and a fresh start removes it', async () => {
  await using temp = await tempFolder();
  writeFileSync(join(temp.path, '4242-1.report'), `00000000${'{"pid":4242}'.padEnd(1016)}`);
  writeFileSync(join(temp.path, '4243-1.report'), '');
  expect(() => readReports(temp.path)).toThrow(/424\d-1\.report.*cannot be read/);
  forgetEnded(temp.path, 'unused');
  expect(readdirSync(temp.path)).toHaveLength(2);
  forgetEnded(temp.path, 'all');
  expect(readReports(temp.path)).toEqual({ live: [], ended: [] });
});
