/**
 * Mappings against a model of them: random rows go there while they are changed and the copy is interrupted, are changed on the new side, and come
 * back. The stores are real; the model is two maps in memory and says in its own words what a mapping means.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { TestDatabase } from '../testing/databases.ts';
import { MappedMove } from '../testing/mapped-move.ts';
import { constant, createDataMove, expression, sync } from './move.ts';
import { sqlite } from './stores/sqlite/index.ts';

const KEYS = 5;
const RUNS = 12;

interface User {
  first: string;
  last: string;
  street: string | null;
  city: string | null;
}
interface Event {
  what: string;
  table: 'a' | 'b';
}
interface Legacy {
  users: Map<number, User>;
  events: Map<number, Event>;
}
interface Next {
  people: Map<number, { name: string; source: string }>;
  addresses: Map<number, { street: string | null; city: string | null }>;
  events: Map<number, { what: string; source: string }>;
}

const key = fc.integer({ min: 1, max: KEYS });
const text = fc.constantFrom('x', 'y', "it's", 'ü 😀', '1');
const value = fc.option(text, { nil: null });
const first = fc.constantFrom('Ann', 'Bob', "D'Arcy");
const last = fc.constantFrom('Lee', 'van Dyk', '');

type OldChange = { kind: 'user'; id: number; user: User | null } | { kind: 'event'; id: number; event: Event | null };
const oldChange: fc.Arbitrary<OldChange> = fc.oneof(
  fc.record({
    kind: fc.constant('user' as const),
    id: key,
    user: fc.option(fc.record({ first, last, street: value, city: value }), { nil: null, freq: 3 }),
  }),
  fc.record({
    kind: fc.constant('event' as const),
    id: key,
    event: fc.option(fc.record({ what: text, table: fc.constantFrom('a' as const, 'b' as const) }), {
      nil: null,
      freq: 3,
    }),
  }),
);
type NewChange =
  | { kind: 'person'; id: number; row: { name: string; source: string } | null }
  | { kind: 'address'; id: number; row: { street: string | null; city: string | null } | null }
  | { kind: 'event'; id: number; row: { what: string; source: string } | null }
  | { kind: 'follow' };
const newChange: fc.Arbitrary<NewChange> = fc.oneof(
  fc.record({
    kind: fc.constant('person' as const),
    id: key,
    row: fc.option(
      fc.record({
        name: fc.tuple(first, last).map((names) => names.join(' ')),
        source: fc.constantFrom('web', 'web', 'import'),
      }),
      { nil: null, freq: 3 },
    ),
  }),
  fc.record({
    kind: fc.constant('address' as const),
    id: key,
    row: fc.option(fc.record({ street: value, city: value }), { nil: null, freq: 3 }),
  }),
  fc.record({
    kind: fc.constant('event' as const),
    id: key,
    row: fc.option(fc.record({ what: text, source: fc.constantFrom('a', 'b', 'c') }), { nil: null, freq: 3 }),
  }),
  fc.constant({ kind: 'follow' as const }),
);

const TABLES = {
  people: {
    from: 'users',
    columns: {
      id: 'id',
      name: expression("first || ' ' || last", {
        back: {
          first: "substr(name, 1, instr(name, ' ') - 1)",
          last: "substr(name, instr(name, ' ') + 1)",
        },
      }),
      source: constant('web'),
    },
  },
  addresses: { from: 'users', partOf: 'people', columns: { id: 'id', street: 'street', city: 'city' } },
  events_a: { to: 'events', columns: { id: 'id', what: 'what', source: constant('a') } },
  events_b: { to: 'events', columns: { id: 'id', what: 'what', source: constant('b') } },
} as const;

const quoted = (part: string | null) => (part === null ? 'NULL' : `'${part.replaceAll("'", "''")}'`);

async function changeOld(legacy: TestDatabase, model: Legacy, change: OldChange): Promise<void> {
  const { id } = change;
  if (change.kind === 'user') {
    const { user } = change;
    await legacy.exec(`DELETE FROM users WHERE id = ${id}`);
    model.users.delete(id);
    if (user === null) return;
    model.users.set(id, user);
    const cells = [user.first, user.last, user.street, user.city].map(quoted);
    await legacy.exec(`INSERT INTO users VALUES (${id}, ${cells.join(', ')})`);
    return;
  }
  const { event } = change;
  await legacy.exec(`BEGIN; DELETE FROM events_a WHERE id = ${id}; DELETE FROM events_b WHERE id = ${id}; COMMIT`);
  model.events.delete(id);
  if (event === null) return;
  model.events.set(id, event);
  await legacy.exec(`INSERT INTO events_${event.table} VALUES (${id}, ${quoted(event.what)})`);
}

async function changeNew(
  next: TestDatabase,
  model: Next,
  change: Exclude<NewChange, { kind: 'follow' }>,
): Promise<void> {
  const [table, rows] = (
    {
      person: ['people', model.people],
      address: ['addresses', model.addresses],
      event: ['events', model.events],
    } as const
  )[change.kind];
  await next.exec(`DELETE FROM ${table} WHERE id = ${change.id}`);
  rows.delete(change.id);
  if (change.row === null) return;
  (rows as Map<number, object>).set(change.id, change.row);
  await next.exec(`INSERT INTO ${table} VALUES (${change.id}, ${Object.values(change.row).map(quoted).join(', ')})`);
}

/** What the new side is to hold. */
function forward(legacy: Legacy): Next {
  return {
    people: new Map([...legacy.users].map(([id, user]) => [id, { name: `${user.first} ${user.last}`, source: 'web' }])),
    addresses: new Map(
      [...legacy.users]
        .filter(([, { street, city }]) => street !== null || city !== null)
        .map(([id, { street, city }]) => [id, { street, city }]),
    ),
    events: new Map([...legacy.events].map(([id, { what, table }]) => [id, { what, source: table }])),
  };
}

/** What the legacy is to hold after the new side's changes were applied; what cannot go back stays as it is. */
function backward(next: Next, before: Legacy): Legacy {
  const after: Legacy = { users: new Map(), events: new Map() };
  for (let id = 1; id <= KEYS; id++) {
    const person = next.people.get(id);
    const former = before.users.get(id);
    if (person?.source === 'web') {
      const [given = '', ...rest] = person.name.split(' ');
      const address = next.addresses.get(id) ?? { street: null, city: null };
      after.users.set(id, { first: given, last: rest.join(' '), ...address });
    } else if (person !== undefined && former !== undefined) after.users.set(id, former);
    const event = next.events.get(id);
    const formerEvent = before.events.get(id);
    if (event?.source === 'a' || event?.source === 'b') after.events.set(id, { what: event.what, table: event.source });
    else if (event !== undefined && formerEvent !== undefined) after.events.set(id, formerEvent);
  }
  return after;
}

async function readLegacy(legacy: TestDatabase): Promise<Legacy> {
  const users = await legacy.all('SELECT * FROM users');
  const events = await legacy.all(
    "SELECT id, what, 'a' AS t FROM events_a UNION ALL SELECT id, what, 'b' FROM events_b",
  );
  expect(new Set(events.map(({ id }) => id)).size).toBe(events.length);
  return {
    users: new Map(users.map(({ id, ...user }) => [id as number, user as unknown as User])),
    events: new Map(events.map(({ id, what, t }) => [id as number, { what, table: t } as Event])),
  };
}

async function readNext(next: TestDatabase): Promise<Next> {
  const read = async <Row>(table: string) =>
    new Map((await next.all(`SELECT * FROM ${table}`)).map(({ id, ...row }) => [id as number, row as Row]));
  return { people: await read('people'), addresses: await read('addresses'), events: await read('events') };
}

/** An empty part may stay without values where it had some: that is nothing to the application. */
function withoutEmpty(next: Next): Next {
  const addresses = new Map([...next.addresses].filter(([, { street, city }]) => street !== null || city !== null));
  return { ...next, addresses };
}

class Interrupted extends Error {
  override readonly name = 'Interrupted';
}

describe('mappings of all kinds at once', () => {
  it(
    'move random rows there and back while they change, and while the copy is interrupted',
    { timeout: 60_000 },
    async () => {
      const changes = fc.array(oldChange, { maxLength: 12 });
      const during = fc.array(
        fc.oneof({ weight: 4, arbitrary: oldChange }, { weight: 1, arbitrary: fc.constant('interrupt' as const) }),
        {
          maxLength: 12,
        },
      );
      let lost = 0;
      await fc.assert(
        fc.asyncProperty(
          changes,
          during,
          changes,
          fc.array(newChange, { maxLength: 20 }),
          async (before, meanwhile, later, after) => {
            const storeOf = ({ address }: TestDatabase) => sqlite(address);
            await using move = await MappedMove.begin({ servers: {}, storeOf, createDataMove, sync });
            const { legacy, next } = move;
            await legacy.exec(`CREATE TABLE users (id INTEGER PRIMARY KEY, first TEXT, last TEXT, street TEXT, city TEXT);
          CREATE TABLE events_a (id INTEGER PRIMARY KEY, what TEXT); CREATE TABLE events_b (id INTEGER PRIMARY KEY, what TEXT)`);
            await next.exec(`CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT, source TEXT);
          CREATE TABLE addresses (id INTEGER PRIMARY KEY, street TEXT, city TEXT);
          CREATE TABLE events (id INTEGER PRIMARY KEY, what TEXT, source TEXT)`);
            move.plan(TABLES, 2);
            const old: Legacy = { users: new Map(), events: new Map() };
            for (const change of before) await changeOld(legacy, old, change);

            // Writes of SQLite are done when the call returns, so the changes really come between two chunks.
            const waiting = [...meanwhile];
            const at = (point: string) => {
              if (point !== 'data.copy.after_chunk') return;
              const change = waiting.shift();
              if (change === 'interrupt') throw new Interrupted();
              if (change !== undefined) void changeOld(legacy, old, change);
            };
            const ctx = { ...move.ctx, faults: { at } };
            await move.data.prepare(ctx);
            for (let isCopied = false; !isCopied;) {
              isCopied = await move.data.copy(ctx).then(
                () => true,
                (error: unknown) => {
                  if (error instanceof Interrupted) return false;
                  throw error;
                },
              );
            }
            for (const change of later) await changeOld(legacy, old, change);
            for (const verdict of await move.switchOver()) expect(verdict).toBe('PASS');
            expect(withoutEmpty(await readNext(next))).toEqual(withoutEmpty(forward(old)));

            const now = await readNext(next);
            let expected = old;
            for (const change of after) {
              if (change.kind === 'follow') {
                await move.follow('reverse');
                expected = backward(now, expected);
              } else await changeNew(next, now, change);
            }
            for (const verdict of await move.switchBack()) expect(verdict).toBe('PASS');
            expect(await readLegacy(legacy)).toEqual(backward(now, expected));
            const given = await move.data.notReturnable(move.ctx);
            const count = (table: string) =>
              given.filter((one) => one.table === table).reduce((sum, { rows }) => sum + rows, 0);
            expect(count('people')).toBe([...now.people.values()].filter(({ source }) => source === 'import').length);
            expect(count('events')).toBe([...now.events.values()].filter(({ source }) => source === 'c').length);
            lost += given.length;
          },
        ),
        { numRuns: RUNS },
      );
      // Otherwise it would have shown nothing about rows that do not go back.
      expect(lost).toBeGreaterThan(0);
    },
  );
});
