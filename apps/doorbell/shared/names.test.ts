import { expect, test } from 'vitest';
import { isFileName, localIso, sanitiseName, slugOf, stampOf } from './names.ts';

test('a typed name keeps letters, digits, blanks, underscores and hyphens', () => {
  expect(sanitiseName('Zoë')).toBe('Zo');
  expect(sanitiseName("Mary-Jane O'Neil")).toBe('Mary-Jane ONeil');
  expect(sanitiseName('  Ann \t  Lee\n')).toBe('Ann Lee');
  expect(sanitiseName('李雷')).toBe('');
  expect(sanitiseName('../../etc/passwd')).toBe('etcpasswd');
  expect(sanitiseName('a'.repeat(1_000_000))).toHaveLength(64);
});

test('a slug is lower case with underscores, and several names may share one', () => {
  expect(slugOf('Zo')).toBe('zo');
  expect(slugOf('Mary-Jane ONeil')).toBe('mary-jane_oneil');
  expect(slugOf('Jane Doe')).toBe(slugOf('jane_doe'));
});

test('a local time has six digits of its fraction, or none when that is zero', () => {
  const at = new Date(2026, 10, 21, 8, 13, 34, 497);
  expect(localIso(at, 533)).toBe('2026-11-21T08:13:34.497533');
  expect(localIso(new Date(2026, 0, 2, 3, 4, 5, 0))).toBe('2026-01-02T03:04:05');
  expect(localIso(new Date(2026, 0, 2, 3, 4, 5, 7))).toBe('2026-01-02T03:04:05.007000');
  expect(stampOf(at)).toBe('20261121_081334');
});

test('only plain names are taken as file names', () => {
  for (const name of ['visitor_20261121_081334.jpg', 'john_q._public_1.jpg', 'Zoë.jpg'])
    expect(isFileName(name)).toBe(true);
  for (const name of ['', '.', '..', '.env', 'a/b', '..\\b', 'a\0b', 'x'.repeat(256)])
    expect(isFileName(name)).toBe(false);
});
