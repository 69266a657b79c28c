import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { expect, test } from 'vitest';
import { NO_FAULTS } from '../plan/context.ts';
import { tempFolder } from '../testing/temp.ts';
import { faultsFromEnvironment } from './faults.ts';

test('without its variables it is the no-op of production', () => {
  expect(faultsFromEnvironment({})).toBe(NO_FAULTS);
});

test('it throws at the pass it was told, and only there', () => {
  const faults = faultsFromEnvironment({ CHANGEOVER_FAULT: 'engine.step.acted#2:throw' });
  faults.at('engine.step.acted');
  faults.at('engine.step.intended');
  expect(() => {
    faults.at('engine.step.acted');
  }).toThrow('fault injected at engine.step.acted');
  faults.at('engine.step.acted');
});

test('it writes down every point that was passed, in order', async () => {
  await using temp = await tempFolder();
  const file = path.join(temp.path, 'passed');
  const faults = faultsFromEnvironment({ CHANGEOVER_FAULT_LOG: file });
  faults.at('engine.step.acted');
  faults.at('engine.undo.acted');
  expect(await readFile(file, 'utf8')).toBe('engine.step.acted\nengine.undo.acted\n');
});

test.each([
  ['engine.step.acted', 'it has another form'],
  ['engine.step.acted#0:kill', 'it has another form'],
  ['engine.step.acted:explode', 'there is no action explode'],
  ['engine.step.enacted:kill', 'there is no crash point engine.step.enacted'],
  ['', 'it has another form'],
])('CHANGEOVER_FAULT=%s is refused: %s', (value, reason) => {
  expect(() => faultsFromEnvironment({ CHANGEOVER_FAULT: value })).toThrow(reason);
});
