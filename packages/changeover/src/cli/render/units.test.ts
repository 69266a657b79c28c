import { expect, it } from 'vitest';
import { showAmount, showBytes, showDuration, showPercent, plural } from './units.ts';

it('a length of time is read at a glance', () => {
  expect(
    [0, 41.4, 999, 1_240, 9_940, 59_400, 65_000, 120_000, 3_600_000, 11_400_000, 187_200_000].map(showDuration),
  ).toEqual([
    '0 ms',
    '41 ms',
    '999 ms',
    '1.2 s',
    '9.9 s',
    '59 s',
    '1 min 5 s',
    '2 min',
    '1 h',
    '3 h 10 min',
    '2 d 4 h',
  ]);
});

it('sizes have three figures at most', () => {
  expect([0, 999, 1_000, 48_200_000, 312_000_000, 2e15].map(showBytes)).toEqual([
    '0 B',
    '999 B',
    '1.0 kB',
    '48.2 MB',
    '312 MB',
    '2000 TB',
  ]);
});

it('100 % is not said before it is done', () => {
  expect([0, 0.5, 0.9999, 1, 1.2, -1].map(showPercent)).toEqual(['0 %', '50 %', '99 %', '100 %', '100 %', '0 %']);
});

it('amounts have separators and units', () => {
  expect(showAmount(12_400, 'rows')).toBe('12,400 rows');
  expect(showAmount(12_400, 'bytes')).toBe('12.4 kB');
  expect([plural(1, 'row'), plural(0, 'row'), plural(2, 'entry', 'entries')]).toEqual(['1 row', '0 rows', '2 entries']);
});
