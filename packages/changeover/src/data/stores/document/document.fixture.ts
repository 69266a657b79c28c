import { NdArray, plain } from '../../python/index.ts';
import type { PickleProtocol, PythonValue } from '../../python/index.ts';
import type { Row, Store } from '../../../plan/stores.ts';
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
