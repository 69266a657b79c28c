import type { PlanAuthor } from './author.ts';
import { parseDuration } from './duration.ts';
import { expandSchema } from './expand.ts';
import { problemsOf, show, showPath, type PlanProblem } from './problems.ts';
import { HOLD_DEADLINE_MS, MAX_HELD_MS, planSchema, ROLLBACK_HOLD_DEADLINE_MS } from './schema.ts';
import { canonicalJson, specOf } from './spec.ts';
import { COLUMN_FORMS } from './sync.ts';

type Path = readonly (string | number)[];
type Sections = { readonly [Name in keyof PlanAuthor]?: PlanAuthor[Name] };

/** Problems between sections. Sections that are wrong in themselves are left out, so that one mistake is not reported twice. */
export function problemsAcross(author: unknown): PlanProblem[] {
  if (typeof author !== 'object' || author === null) return [];
  const given = author as Record<string, unknown>;
  const sound = Object.entries(planSchema.shape).filter(
    ([name, schema]) => given[name] !== undefined && schema.safeParse(given[name]).success,
  );
  const sections = Object.fromEntries(sound.map(([name]) => [name, given[name]])) as Sections;
  return [
    ...duplicateNames(sections),
    ...unitsWithoutUrl(sections),
    ...sharedPorts(sections),
    ...holdsLongerThanParked(sections),
    ...movesOntoItself(sections),
    ...schemasMisspelt(sections),
    ...expansionsMisspelt(sections),
    ...slicesMisspelt(sections),
  ];
}

function duplicateNames({ legacy, next, data, checks }: Sections): PlanProblem[] {
  const units: [Path, string][] = [
    ...named(['legacy', 'units'], legacy?.units),
    ...named(['legacy', 'writers'], legacy?.writers),
    ...named(['next', 'units'], next?.units),
  ];
  return [units, named(['data'], data), named(['checks'], checks)].flatMap((entries) => {
    const first = new Map<string, Path>();
    return entries.flatMap(([path, name]) => {
      const taken = first.get(name);
      if (taken === undefined) {
        first.set(name, path);
        return [];
      }
      const expected = `a name of its own (${showPath(taken)} has the same)`;
      return [problem([...path, 'name'], expected, name, `give one of the two another name: { name: '${name}-2' }`)];
    });
  });
}

function named(path: Path, parts: readonly { readonly name: string }[] = []): [Path, string][] {
  return parts.map((part, index) => [[...path, index], part.name]);
}

function unitsWithoutUrl({ legacy, next }: Sections): PlanProblem[] {
  return (['legacy', 'next'] as const).flatMap((side) => {
    const units = { legacy, next }[side]?.units;
    if (units === undefined) return [];
    if (units.every((unit) => unit.url === null)) {
      const remedy = "give the one that answers requests its address: { url: 'http://127.0.0.1:5001' }";
      return [problem([side, 'units'], 'a unit with a url, where the gateway sends requests', units, remedy)];
    }
    return units.flatMap((unit, index) =>
      unit.url === null || httpUrl(unit.url) !== null
        ? []
        : [problem([side, 'units', index, 'url'], 'an http address', unit.url, "write url: 'http://127.0.0.1:5001'")],
    );
  });
}

function httpUrl(text: string): URL | null {
  const url = URL.parse(text);
  return url?.protocol === 'http:' || url?.protocol === 'https:' ? url : null;
}

/** Both sides and the gateway run at the same time, so each needs a port of its own. */
function sharedPorts({ legacy, next, gateway }: Sections): PlanProblem[] {
  const taken = new Map<string, string>();
  if (gateway !== undefined) taken.set(portOfListen(gateway.listen), 'gateway.listen');
  return (['legacy', 'next'] as const).flatMap(
    (side) =>
      ({ legacy, next })[side]?.units.flatMap((unit, index) => {
        const url = unit.url === null ? null : httpUrl(unit.url);
        if (url === null || !isLoopback(url.hostname)) return [];
        const port = url.port || (url.protocol === 'https:' ? '443' : '80');
        const owner = taken.get(port);
        const path = [side, 'units', index, 'url'];
        // Several units of one side may stand behind one port (a server and its helper).
        if (owner === undefined || owner.startsWith(side)) {
          taken.set(port, showPath(path));
          return [];
        }
        return [
          problem(path, `a port of its own (${owner} has ${port})`, unit.url, 'use another port for one of the two'),
        ];
      }) ?? [],
  );
}

function portOfListen(listen: PlanAuthor['gateway']['listen']): string {
  if (typeof listen === 'object') return String(listen.port);
  return String(listen).replace(/^.*:/s, '');
}

function isLoopback(hostname: string): boolean {
  return hostname === 'localhost' || hostname === '[::1]' || hostname === '0.0.0.0' || hostname.startsWith('127.');
}

/** A request refused before the hold's own deadline would break the promise that none fails because of the move. */
function holdsLongerThanParked({ gateway, cutover }: Sections): PlanProblem[] {
  if (gateway === undefined) return [];
  const maxHeldMs = parseDuration(gateway.maxHeld ?? MAX_HELD_MS);
  const deadlines = [
    ['deadline', cutover?.hold?.deadline ?? HOLD_DEADLINE_MS],
    ['rollbackDeadline', cutover?.hold?.rollbackDeadline ?? ROLLBACK_HOLD_DEADLINE_MS],
  ] as const;
  return deadlines.flatMap(([name, deadline]) =>
    parseDuration(deadline) <= maxHeldMs
      ? []
      : [
          problem(
            ['gateway', 'maxHeld'],
            `at least cutover.hold.${name} (${parseDuration(deadline)} ms), or parked requests are refused before it ends`,
            maxHeldMs,
            `write maxHeld: ${parseDuration(deadline)}, or a shorter cutover.hold.${name}`,
          ),
        ],
  );
}

function movesOntoItself({ data = [] }: Sections): PlanProblem[] {
  return data.flatMap((definition, index) =>
    definition.kind !== 'expand' && canonicalJson(specOf(definition.from)) === canonicalJson(specOf(definition.to))
      ? [problem(['data', index, 'to'], 'another place than `from`', definition.to, 'name where it moves to')]
      : [],
  );
}

const SLICES =
  "write slices: { column: 'network_id', through: { plays: { column: 'stream_id', parent: 'streams' } }, shared: ['countries'] }";

/** Which table belongs to a slice through which, and that each way ends at a table with the column. */
function slicesMisspelt({ data = [] }: Sections): PlanProblem[] {
  return data.flatMap((definition, index) => {
    const slices: unknown = 'slices' in definition ? definition.slices : null;
    if (slices === null || slices === undefined || !('tables' in definition)) return [];
    const path = ['data', index, 'slices'];
    const isTable = (name: unknown) => typeof name === 'string' && Object.hasOwn(definition.tables, name);
    if (typeof slices !== 'object' || Array.isArray(slices)) return [problem(path, '{ column }', slices, SLICES)];
    const { column, through = {}, shared = [], ...others } = slices as Record<string, unknown>;
    const problems = Object.keys(others).map((name) =>
      problem([...path, name], 'column, through or shared', name, SLICES),
    );
    if (typeof column !== 'string' || column === '')
      problems.push(problem([...path, 'column'], 'the column that says whose a row is', column, SLICES));
    if (!Array.isArray(shared) || !shared.every(isTable))
      return [...problems, problem([...path, 'shared'], 'a list of tables of this sync', shared, SLICES)];
    if (typeof through !== 'object' || through === null)
      return [...problems, problem([...path, 'through'], 'tables with their parents', through, SLICES)];
    const ways = through as Record<string, { readonly column?: unknown; readonly parent?: unknown } | null>;
    const isOwn = (name: unknown) => isTable(name) && !shared.includes(name);
    for (const [table, way] of Object.entries(ways)) {
      const isWay = typeof way?.column === 'string' && way.column !== '' && isOwn(table) && isOwn(way.parent);
      if (!isWay)
        problems.push(
          problem([...path, 'through', table], 'a column and a parent, both of tables of a slice', way, SLICES),
        );
      else if (isCircle(ways, table))
        problems.push(problem([...path, 'through', table], 'a way that ends at a table with the column', way, SLICES));
    }
    return problems;
  });
}

function isCircle(ways: Readonly<Record<string, { readonly parent?: unknown } | null>>, table: string): boolean {
  const seen = new Set<unknown>();
  for (let at: unknown = table; typeof at === 'string'; at = ways[at]?.parent) {
    if (seen.has(at)) return true;
    seen.add(at);
  }
  return false;
}

const A_COLUMN = /^.+\..+$/s;
const KNOWN_SCHEMA = ['columns', 'omit'];

/** `sync` takes any object, since a plan may be written without types. */
function schemasMisspelt({ data = [] }: Sections): PlanProblem[] {
  return data.flatMap((definition, index) => {
    const schema: unknown = 'schema' in definition ? definition.schema : null;
    if (schema === null || schema === undefined) return [];
    const path = ['data', index, 'schema'];
    if (typeof schema !== 'object' || Array.isArray(schema))
      return [problem(path, "'create', or { columns, omit }", schema, "write schema: 'create'")];
    const unknown = Object.keys(schema).filter((name) => !KNOWN_SCHEMA.includes(name));
    const { columns = {}, omit = [] } = schema as { readonly columns?: unknown; readonly omit?: unknown };
    return [
      ...unknown.map((name) =>
        problem([...path, name], 'columns or omit', name, 'write schema: { columns: { … }, omit: [ … ] }'),
      ),
      ...columnProblems([...path, 'columns'], columns),
      ...(Array.isArray(omit) && omit.every((name) => typeof name === 'string' && name !== '')
        ? []
        : [problem([...path, 'omit'], 'a list of names', omit, "write omit: ['posts_author_fkey']")]),
    ];
  });
}

/** `expand` takes any object too. */
function expansionsMisspelt({ data = [] }: Sections): PlanProblem[] {
  return data.flatMap((definition, index) =>
    definition.kind === 'expand'
      ? problemsOf(expandSchema, definition).map((found) => ({ ...found, path: `data[${index}].${found.path}` }))
      : [],
  );
}

function columnProblems(path: Path, columns: unknown): PlanProblem[] {
  const remedy = "write columns: { 'events.at': { type: 'timestamptz', from: 'unix-seconds' } }";
  if (typeof columns !== 'object' || columns === null || Array.isArray(columns))
    return [problem(path, 'columns with their types', columns, remedy)];
  return Object.entries(columns as Record<string, unknown>).flatMap(([name, form]) => [
    ...(A_COLUMN.test(name) ? [] : [problem([...path, name], 'table.column of the target', name, remedy)]),
    ...formProblems([...path, name], form, remedy),
  ]);
}

function formProblems(path: Path, form: unknown, remedy: string): PlanProblem[] {
  if (typeof form === 'string' && form.trim() !== '') return [];
  const { type, from, zone, ...others } = (typeof form === 'object' && form !== null ? form : {}) as Record<
    string,
    unknown
  >;
  if (typeof type !== 'string' || type.trim() === '') return [problem(path, 'a type, or { type, from }', form, remedy)];
  const problems = Object.keys(others).map((name) => problem([...path, name], 'type, from or zone', name, remedy));
  if (!COLUMN_FORMS.some((known) => known === from))
    problems.push(problem([...path, 'from'], `one of ${COLUMN_FORMS.join(', ')}`, from, remedy));
  if (zone !== undefined && !isZone(zone))
    problems.push(problem([...path, 'zone'], 'an IANA time zone', zone, "write zone: 'Europe/Berlin', or 'UTC'"));
  if (zone === undefined && (from === 'sql-text' || from === 'python-text'))
    problems.push(
      problem([...path, 'zone'], `the zone of the times, which ${from} does not name`, zone, "write zone: 'UTC'"),
    );
  return problems;
}

function isZone(zone: unknown): boolean {
  if (typeof zone !== 'string') return false;
  try {
    new Intl.DateTimeFormat('en', { timeZone: zone });
    return true;
  } catch (error) {
    if (error instanceof RangeError) return false;
    throw error;
  }
}

function problem(path: Path, expected: string, received: unknown, remedy: string): PlanProblem {
  return { path: showPath(path), expected, received: show(received, path), remedy };
}
