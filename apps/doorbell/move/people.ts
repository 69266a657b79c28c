import path from 'node:path';
import { document, pickleFormat, sync, type Row, type Store, type SyncDefinition } from 'changeover';
import { NdArray, plain, type PythonValue } from 'changeover/python';

type List = 'known' | 'blacklist';
type Pickles = Readonly<Record<List, PythonValue | null>>;

const LISTS: readonly List[] = ['known', 'blacklist'];

/** Ids of encodings from the legacy begin here and are negative; the pickles have no ids but the place in the list. */
const FIRST_PLACE = -(2 ** 40);

/**
 * The two pickles, where alone the names of people live, are persons and their encodings. Encodings are carried as they are: making them
 * again from the pictures would lose every face that is not found again.
 */
export function people(legacyRoot: string, to: Store): SyncDefinition {
  return sync({
    name: 'people',
    from: document({
      files: {
        known: path.join(legacyRoot, 'data/known_faces_cache.pkl'),
        blacklist: path.join(legacyRoot, 'data/blacklist_faces_cache.pkl'),
      },
      format: pickleFormat({ protocol: 4 }),
      tables: {
        people: { key: ['list', 'name'], derived: true, columns: { list: 'text', name: 'text' }, rows: peopleIn },
        encodings: {
          key: ['list', 'position'],
          order: 'position',
          columns: { list: 'text', position: 'integer', name: 'text', encoding: 'text' },
          rows: encodingsIn,
        },
      },
      render: ({ encodings }, before) => ({
        known: pickleOf('known', encodings, before),
        blacklist: pickleOf('blacklist', encodings, before),
      }),
    }),
    to,
    tables: {
      persons: {
        from: 'people',
        key: { to: ([list, name]) => [`${String(list)}:${String(name)}`], back: ([id]) => splitId(String(id)) },
        row: {
          to: ({ list, name }) => ({
            person_id: `${String(list)}:${String(name)}`,
            person_name: name ?? null,
            is_blacklisted: list === 'blacklist' ? 1 : 0,
            metadata: '{}',
          }),
        },
        // A person is on the legacy what its encodings say.
        reverse: 'derived',
      },
      face_encodings: {
        from: 'encodings',
        key: {
          to: ([list, position]) => [idOfPlace(String(list), Number(position))],
          back: ([id]) => placeOfId(Number(id)),
        },
        row: {
          to: ({ list, position, name, encoding }) => ({
            encoding_id: idOfPlace(String(list), Number(position)),
            person_id: `${String(list)}:${String(name)}`,
            encoding_data: encoding ?? null,
            encoding_version: 'v1',
          }),
          back: ({ encoding_id, person_id, encoding_data }) => {
            const [list, name] = splitId(String(person_id));
            const [place, position] = placeOfId(Number(encoding_id));
            return list === place ? { list, position, name, encoding: encoding_data ?? null } : null;
          },
        },
        givesUp: [
          'people who were put on the blacklist on the new side',
          'when an encoding was made, how good it is and how often it matched: the legacy does not keep that',
        ],
      },
    },
  });
}

/** `known:Jane Doe` is another person than `blacklist:Jane Doe`. */
function splitId(id: string): [list: string, name: string] {
  const colon = id.indexOf(':');
  return [id.slice(0, colon), id.slice(colon + 1)];
}

/** Both lists share the ids: even ones are of the known, odd ones of the blacklist. */
function idOfPlace(list: string, position: number): number {
  if (position >= -FIRST_PLACE) return position + FIRST_PLACE;
  return FIRST_PLACE + 2 * position + (list === 'blacklist' ? 1 : 0);
}

/**
 * The place of an encoding of the legacy; one that was born on the new side comes after all of those, in the order of its birth, and is of
 * somebody known: the new side has no way to add to the blacklist. The document numbers places anew.
 */
function placeOfId(id: number): [list: string, position: number] {
  if (id >= 0) return ['known', -FIRST_PLACE + id];
  const place = id - FIRST_PLACE;
  return [place % 2 === 1 ? 'blacklist' : 'known', Math.floor(place / 2)];
}

function peopleIn(pickles: Pickles): Row[] {
  return LISTS.flatMap((list) =>
    [...new Set(entriesOf(pickles[list]).map(({ name }) => name))].map((name) => ({ list, name })),
  );
}

function encodingsIn(pickles: Pickles): Row[] {
  return LISTS.flatMap((list) =>
    entriesOf(pickles[list]).map(({ name, encoding }, position) => ({
      list,
      position,
      name,
      encoding: JSON.stringify(encoding),
    })),
  );
}

function entriesOf(pickle: PythonValue | null): { readonly name: string; readonly encoding: readonly number[] }[] {
  if (pickle === null) return [];
  const { names, encodings } = plain(pickle) as { names?: unknown; encodings?: unknown };
  if (!Array.isArray(names) || !Array.isArray(encodings) || names.length !== encodings.length) {
    throw new TypeError('expected lists of equal length in names and encodings');
  }
  return encodings.map((encoding: unknown, index) => {
    if (!(encoding instanceof NdArray)) throw new TypeError(`encoding ${index} is no array`);
    return { name: String(names[index]), encoding: [...encoding.toFloat64Array()] };
  });
}

function pickleOf(list: List, rows: readonly Row[], before: Pickles) {
  const own = rows.filter((row) => row['list'] === list);
  if (own.length === 0 && before[list] === null) return null;
  return {
    encodings: own.map((row) => NdArray.float64(JSON.parse(String(row['encoding'])) as number[])),
    names: own.map((row) => String(row['name'])),
  };
}
