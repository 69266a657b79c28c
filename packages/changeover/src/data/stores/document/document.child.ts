/** A process that tests kill: `node document.child.ts <folder> <crash point or -> <pass> <rows as JSON>` replaces the two pickles. */
import { fileURLToPath } from 'node:url';
import type { Row, Store } from '../../../plan/stores.ts';
import { killAt, testContext } from '../../../testing/context.ts';
import { NdArray, plain } from '../../python/index.ts';
import type { PickleProtocol, PythonValue } from '../../python/index.ts';
import { document } from './document.ts';
import { pickleFormat } from './format.ts';

interface Cache {
  readonly encodings: readonly NdArray[];
  readonly names: readonly string[];
}

/** The faces of a doorbell, as tests know them: two pickles, each with names and encodings that belong together by position. */
export function faces(protocol: PickleProtocol = 4): Store {
  return document({
    files: { known: 'data/known.pkl', blacklist: 'data/blacklist.pkl' },
    format: pickleFormat({ protocol }),
    tables: {
      faces: {
        key: ['list', 'position'],
        rows: ({ known, blacklist }) => [...rowsOf('known', known), ...rowsOf('blacklist', blacklist)],
      },
    },
    render: ({ faces }) => ({ known: cacheOf('known', faces), blacklist: cacheOf('blacklist', faces) }),
  });
}

function rowsOf(list: string, contents: PythonValue): Row[] {
  if (contents === null) return [];
  const { encodings, names } = plain(contents) as unknown as Cache;
  return names.map((name, position) => {
    const encoding = encodings[position];
    if (!encoding) throw new Error(`no encoding at position ${position}`);
    return { list, position, name, encoding: JSON.stringify([...encoding.toFloat64Array()]) };
  });
}

function cacheOf(list: string, rows: readonly Row[]) {
  const own = rows.filter((row) => row['list'] === list);
  if (own.length === 0) return null;
  return {
    encodings: own.map((row) => NdArray.float64(JSON.parse(String(row['encoding'])) as number[])),
    names: own.map((row) => String(row['name'])),
  };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [folder = '', point = '-', pass = '1', json = '[]'] = process.argv.slice(2);
  const ctx = testContext(folder, point === '-' ? {} : { faults: killAt(point, Number(pass)) });
  const store = await faces().open(ctx, 'legacy');
  await store.replace?.({ faces: JSON.parse(json) as Row[] }, 1);
  await store.close();
}
