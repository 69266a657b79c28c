import { appendFileSync } from 'node:fs';
import path from 'node:path';
import { tempFolder } from 'changeover/testing';
import { describe, expect, it } from 'vitest';
import { compareLedgers, compareSides } from './compare.ts';
import type { Content } from './content.ts';
import { missing } from './engines.ts';
import { Ledger, readLedger } from './ledger.ts';
import { soak } from './soak.ts';

const EMPTY: Content = {
  heads: new Map(),
  counters: new Map(),
  seats: new Map(),
  items: new Map(),
  parts: new Map(),
  scratch: new Map(),
};

describe('a short soak', () => {
  it.for([
    ['sqlite', 'postgres'],
    ['mariadb', 'sqlite'],
  ] as const)('loses nothing from %s to %s and back', { timeout: 300_000 }, async (pair, { skip }) => {
    for (const name of pair) {
      const reason = await missing(name);
      skip(reason !== null, `${name}: ${reason ?? ''}`);
    }
    const lines: string[] = [];
    const isGood = await soak({ minutes: 0.1, seed: 11, pairs: [pair], say: (line) => lines.push(line) });
    expect(lines.at(-1), lines.join('\n')).toMatch(
      /^rows lost 0, rows duplicated 0, rows different 0, kills [1-9]\d*$/,
    );
    expect(isGood, lines.join('\n')).toBe(true);
  });
});

describe('a comparison', () => {
  it('tells rows that are missing, too many and different', () => {
    const serving = {
      ...EMPTY,
      scratch: new Map([
        ['1', 'a'],
        ['2', 'b'],
      ]),
    };
    const other = {
      ...EMPTY,
      scratch: new Map([
        ['2', 'B'],
        ['3', 'c'],
      ]),
    };
    expect(compareSides(serving, other)).toMatchObject({ lost: 1, duplicated: 1, different: 1 });
    expect(compareSides(serving, serving)).toMatchObject({ lost: 0, duplicated: 0, different: 0 });
  });

  it('holds what was acknowledged against the rows, and an unanswered transaction against its head', async () => {
    await using temp = await tempFolder();
    const file = path.join(temp.path, 'ledger');
    const ledger = new Ledger(file);
    ledger.intend(1, [
      ['set', 'scratch', '1', 'a'],
      ['add', '1', 5],
    ]);
    ledger.acknowledge(1);
    ledger.intend(2, [['set', 'scratch', '2', 'b']]);
    ledger.forget(2);
    ledger.intend(3, [['drop', 'scratch', '1']]);
    ledger.close();
    appendFileSync(file, '{"ack":');
    const content = (head: string, scratch: [string, string][], counter = '5'): Content => ({
      ...EMPTY,
      heads: new Map([['0', JSON.stringify([head])]]),
      counters: new Map([['1', JSON.stringify([counter])]]),
      scratch: new Map(scratch),
    });
    const judge = (found: Content) => {
      const { lost, duplicated, different } = compareLedgers([readLedger(file)], found);
      return [lost, duplicated, different];
    };
    expect(judge(content('1', [['1', 'a']]))).toEqual([0, 0, 0]);
    expect(judge(content('3', []))).toEqual([0, 0, 0]);
    expect(judge(content('1', []))).toEqual([1, 0, 0]);
    expect(judge(content('3', [['1', 'a']]))).toEqual([0, 1, 0]);
    expect(
      judge(
        content('1', [
          ['1', 'a'],
          ['2', 'b'],
        ]),
      ),
    ).toEqual([0, 1, 0]);
    expect(judge(content('0', [['1', 'a']], '4'))).toEqual([0, 0, 2]);
  });

  it('misses a guest who was seated twice', () => {
    const seats = new Map([
      ['1', '["guest 1"]'],
      ['2', '["guest 1"]'],
    ]);
    expect(compareLedgers([], { ...EMPTY, seats })).toMatchObject({ lost: 1 });
  });
});
