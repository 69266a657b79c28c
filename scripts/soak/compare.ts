import { TABLES, type Content } from './content.ts';
import { take, type Known, type OwnTable } from './ledger.ts';

export interface Differences {
  /** Rows that were acknowledged, or are on the side that serves, and are missing. */
  readonly lost: number;
  /** Rows that nobody wrote, or that were deleted and came back. */
  readonly duplicated: number;
  /** Rows under the right key with other values. */
  readonly different: number;
  /** The first of them, in words. */
  readonly examples: readonly string[];
}

export const NONE: Differences = { lost: 0, duplicated: 0, different: 0, examples: [] };
const MAX_EXAMPLES = 10;
const OWN_TABLES: readonly OwnTable[] = ['items', 'parts', 'scratch'];

export function sum(all: readonly Differences[]): Differences {
  return {
    lost: all.reduce((total, { lost }) => total + lost, 0),
    duplicated: all.reduce((total, { duplicated }) => total + duplicated, 0),
    different: all.reduce((total, { different }) => total + different, 0),
    examples: all.flatMap(({ examples }) => examples).slice(0, MAX_EXAMPLES),
  };
}

/** The other side, row by row, against the side that serves. */
export function compareSides(serving: Content, other: Content): Differences {
  return sum(TABLES.map((table) => compareRows(`between the sides, ${table}`, serving[table], other[table])));
}

/** What the writers were told against what the side that serves has. */
export function compareLedgers(ledgers: readonly Known[], content: Content): Differences {
  const settled = ledgers.map((known, writer) => settle(known, content.heads.get(String(writer))));
  const rows = OWN_TABLES.map((table) => {
    const told = new Map(settled.flatMap((known) => [...known.rows[table]]));
    return compareRows(`against the ledgers, ${table}`, told, content[table]);
  });
  const heads = new Map(settled.map(({ seq }, writer) => [String(writer), JSON.stringify([String(seq)])]));
  const counters = new Map<string, number>([...content.counters.keys()].map((id) => [id, 0]));
  for (const known of settled) for (const [id, n] of known.counters) counters.set(id, (counters.get(id) ?? 0) + n);
  const counted = new Map([...counters].map(([id, n]) => [id, JSON.stringify([String(n)])]));
  return sum([
    ...rows,
    compareRows('against the ledgers, heads', heads, content.heads),
    compareRows('against the ledgers, counters', counted, content.counters),
    compareGuests(content),
  ]);
}

/** A transaction that nobody has answered yet counts as the row says that every transaction of its writer changes. */
function settle(known: Known, head: string | undefined): Pick<Known, 'rows' | 'counters' | 'seq'> {
  const { open } = known;
  if (open === null || head !== JSON.stringify([String(open.seq)])) return known;
  take(known, open.effects);
  return { ...known, seq: open.seq };
}

/** Guests exchange their seats all the time, and none ever comes or goes. */
function compareGuests({ seats }: Content): Differences {
  const guests = [...seats.values()].sort();
  const invited = [...seats.keys()].map((id) => JSON.stringify([guestOf(id)])).sort();
  return compareRows(
    'guests of the seats',
    new Map(invited.map((guest) => [guest, ''])),
    new Map(guests.map((guest) => [guest, ''])),
  );
}

export function guestOf(seat: string | number): string {
  return `guest ${seat}`;
}

function compareRows(
  where: string,
  expected: ReadonlyMap<string, string>,
  actual: ReadonlyMap<string, string>,
): Differences {
  const lost = [...expected.keys()].filter((key) => !actual.has(key));
  const duplicated = [...actual.keys()].filter((key) => !expected.has(key));
  const different = [...expected]
    .filter(([key, row]) => actual.has(key) && actual.get(key) !== row)
    .map(([key]) => key);
  const tell = (what: string) => (key: string) =>
    `${where}: ${what} ${key}, expected ${expected.get(key) ?? 'nothing'}, found ${actual.get(key) ?? 'nothing'}`;
  return {
    lost: lost.length,
    duplicated: duplicated.length,
    different: different.length,
    examples: [
      ...lost.map(tell('lost')),
      ...duplicated.map(tell('duplicated')),
      ...different.map(tell('different')),
    ].slice(0, MAX_EXAMPLES),
  };
}
