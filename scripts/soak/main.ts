import { parseArgs } from 'node:util';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { engineNamed, missing, PAIRS } from './engines.ts';
import { soak } from './soak.ts';

const USAGE = `npm run soak -- [--minutes N] [--seed N] [--pair A-B]…

Moves there and back between each pair of engines, while four processes write (inserts, updates, deletes, changes of keys), and the runner,
the servers of both sides, a writer or a connection is killed all the time. Writers try again, and count only what was acknowledged; what nobody
answered may or may not be there. Both sides are compared after each switch and at the end, and with what was acknowledged.

  --minutes N   on each pair, in rounds of at most a minute with new databases; a round that has begun is ended. Default: 1
  --seed N      the same choices again. Default: another one each time, told at the start
  --pair A-B    legacy and next; may be repeated. Engines: sqlite, postgres, postgres+log, mariadb. Default:
                ${PAIRS.map((pair) => pair.join('-')).join(' ')}

The last line is "rows lost 0, rows duplicated 0, rows different 0, kills N"; anything else ends with 1.`;

// Many processes are started from the same sources.
process.env['NODE_COMPILE_CACHE'] ??= path.join(tmpdir(), 'node-compile-cache');

const { values } = parseArgs({
  options: {
    help: { type: 'boolean', default: false },
    minutes: { type: 'string', default: '1' },
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

if (values.help) {
  console.log(USAGE);
} else {
  for (const name of new Set(pairs.flat())) {
    const reason = await missing(name);
    if (reason !== null) throw new Error(`${name}: ${reason}`);
  }
  const isGood = await soak({
    minutes: positive('minutes', values.minutes),
    seed: positive('seed', values.seed),
    pairs,
    say: (line) => console.log(line),
  });
  process.exitCode = isGood ? 0 : 1;
}
