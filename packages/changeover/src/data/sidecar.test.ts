import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { startChild } from '../testing/child.ts';
import { testContext } from '../testing/context.ts';
import { tempFolder, type TempFolder } from '../testing/temp.ts';
import { Sidecar } from './sidecar.ts';

let temp: TempFolder;
const opened: Sidecar[] = [];

beforeEach(async () => {
  temp = await tempFolder();
});

afterEach(async () => {
  for (const sidecar of opened.splice(0)) sidecar.close();
  await temp.remove();
});

function open(store = 'store', epoch = 1): Sidecar {
  const sidecar = Sidecar.open(testContext(temp.path, { epoch }), store);
  opened.push(sidecar);
  return sidecar;
}

it('keeps the stores apart, and survives being opened again', () => {
  open('a').setNote('scan', { offset: 1 });
  open('b').setNote('scan', { offset: 2 });
  expect([open('a').note('scan'), open('b').note('scan'), open('c').note('scan')]).toEqual([
    { offset: 1 },
    { offset: 2 },
    undefined,
  ]);
  open('a').forget();
  expect([open('a').note('scan'), open('b').note('scan')]).toEqual([undefined, { offset: 2 }]);
});

it('raises the gate and never lowers it, and keeps it when all else is forgotten', () => {
  const [old, owner] = [open(), open('store', 2)];
  old.installEpoch(1);
  owner.installEpoch(2);
  old.installEpoch(1);
  expect(owner.gate()).toBe(2);
  expect(() => old.gated(1, () => 'written')).toThrow('acts for epoch 1, the gate is at 2');
  owner.forget();
  expect(() => old.gated(1, () => 'written')).toThrow('the gate is at 2');
  expect(owner.gated(2, () => 'written')).toBe('written');
  expect(open('another').gate()).toBe(0);
});

it('takes everything back when an effect fails', () => {
  const sidecar = open();
  const failing = () =>
    sidecar.gated(1, () => {
      sidecar.setNote('a', 1);
      throw new Error('the disk is full');
    });
  expect(failing).toThrow('the disk is full');
  expect(sidecar.note('a')).toBeUndefined();
  sidecar.setNote('a', 2);
  expect(sidecar.note('a')).toBe(2);
});

it('is opened and written by many processes at once', async () => {
  const child = new URL('./sidecar.child.ts', import.meta.url).pathname;
  const runs = ['a', 'b', 'c', 'd', 'e', 'f'];
  const children = runs.map((run) => startChild(child, { args: [temp.path, run] }));
  for (const each of children) expect(await each.exited, each.output()).toEqual({ code: 0, signal: null });
  const sidecar = open();
  for (const run of runs)
    expect(sidecar.ledger(run, 's').map(({ seq }) => seq)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
});

it('says which file cannot be used', () => {
  const { stateDir } = testContext(temp.path);
  mkdirSync(stateDir);
  writeFileSync(
    path.join(stateDir, 'data.db'),
    'no database at all, but long enough to be looked at as one'.repeat(20),
  );
  expect(() => open()).toThrow(/data\.db cannot be read or written: file is not a database/);
});
