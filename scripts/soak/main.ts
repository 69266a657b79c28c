/**
 * `npm run soak`: moves there and back between every pair of engines, while four processes write and something is killed all the time, and counts
 * what is not as it was acknowledged.
 *
 *   npm run soak -- --minutes 20                 as long; default 5
 *   npm run soak -- --seed 7                     the same choices again; default: told at the start
 *   npm run soak -- --pair sqlite-postgres       one pair of engines only (sqlite, postgres, postgres+log); may be repeated
 *
 * The last line is `rows lost 0, rows duplicated 0, rows different 0, kills N`; anything else ends with 1.
 */
import { parseArgs } from 'node:util';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { engineNamed, PAIRS } from './engines.ts';
import { soak } from './soak.ts';

// Many processes are started from the same sources.
process.env['NODE_COMPILE_CACHE'] ??= path.join(tmpdir(), 'node-compile-cache');

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '5' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    pair: { type: 'string', multiple: true, default: PAIRS.map((pair) => pair.join('-')) },
  },
});

function positive(name: string, text: string): number {
  const value = Number(text);
  if (!(value > 0)) throw new Error(`--${name}: expected a number above 0, got ${text}`);
  return value;
}

const pairs = values.pair.map((name): readonly [string, string] => {
  const [legacy = '', next = ''] = name.split('-');
  return [engineNamed(legacy).name, engineNamed(next).name];
});

const isGood = await soak({
  minutes: positive('minutes', values.minutes),
  seed: positive('seed', values.seed),
  pairs,
  say: (line) => console.log(line),
});
process.exitCode = isGood ? 0 : 1;
