/**
 * A legacy system as it looks after a year of use, with everything that makes its data hard to move. The same seed gives the
 * same bytes, apart from the root in the log's absolute paths.
 *
 *   node legacy/seed.ts [ROOT]
 */
import { mkdir, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { float, formatPythonLiteral, NumpyScalar } from 'changeover/python';
import { people, type Person } from '../seed/people.ts';
import { slugOf } from '../shared/names.ts';
import { eventLine, type EventType, type Identity, type VisitorEvent } from './event-log.ts';
import { facesPickle } from './face-book.ts';
import { layout, type Layout } from './files.ts';
import { CREDENTIALS_PY, DOTENV, SETTINGS_PY } from './seed-settings.ts';

export interface SeedOptions {
  /** Known people, at most 12. Default 12. */
  readonly people?: number;
  /** Unwanted people, at most 2. Default 2. */
  readonly blacklist?: number;
  /** Lines of the log, broken ones not counted. Default 20,000. */
  readonly events?: number;
  /** Pictures of visits that still exist. Default 40. */
  readonly captures?: number;
  readonly seed?: number;
  /** Lines added to `.env`, e.g. `{ DEBOUNCE_TIME: '0.2' }`. */
  readonly env?: Readonly<Record<string, string>>;
}

export interface Seeded {
  readonly knownNames: readonly string[];
  readonly blacklistNames: readonly string[];
  readonly events: number;
  /** 1-based numbers of the lines of the log that nobody can read. */
  readonly brokenLines: readonly number[];
  /** Captures that exist, out of those that the log names. */
  readonly captures: number;
  /** Somebody for a test: the person behind a name. */
  readonly personOf: ReadonlyMap<string, Person>;
}

/** As they stand in the pickle: `Zo` was typed as `Zoë`, `Jane Doe` and `jane_doe` share a slug, and `Ann` begins `Anna`. */
const KNOWN_NAMES = [
  'Ann',
  'Anna',
  'Zo',
  'Mary-Jane ONeil',
  'Bob Roe',
  'jane_doe',
  'Jane Doe',
  'Li Wei',
  'R2_D2 tech',
  'max mustermann',
  'Rene',
  'X',
];
/** From the public list; one is also the name of somebody known. */
const BLACKLIST_NAMES = ['John Q. Public', 'Jane Doe'];
/** Pictures and events of somebody who was deleted: the legacy removes the entry and nothing else. */
const DELETED_NAME = 'Old Friend';
/** No longer on the public list; Python writes this name with the other quote. */
const CAUGHT_NAME = "Seán O'Brien";

const YEAR_START = Date.UTC(2025, 10, 20, 6);
const YEAR_END = Date.UTC(2026, 10, 20, 18);
/** 02:30 in Berlin, in summer time and an hour later again. */
const FOLD = [Date.UTC(2026, 9, 25, 0, 30), Date.UTC(2026, 9, 25, 1, 30)] as const;
const SUMMER = [Date.UTC(2026, 2, 29, 1), Date.UTC(2026, 9, 25, 1)] as const;

type Random = () => number;

/** Replaces what is in `root`. */
export async function seedLegacy(root: string, options: SeedOptions = {}): Promise<Seeded> {
  const { events = 20_000, captures = 40, seed = 1, env = {} } = options;
  const everybody = await people();
  const known = assign(
    KNOWN_NAMES,
    everybody.filter(({ role }) => role === 'resident'),
    options.people ?? 12,
  );
  const blacklist = assign(
    BLACKLIST_NAMES,
    everybody.filter(({ role }) => role === 'wanted'),
    options.blacklist ?? 2,
  );
  const strangers = everybody.filter(({ role }) => role === 'stranger');

  const places = layout(root);
  for (const place of [path.join(root, 'data'), path.join(root, 'config')])
    await rm(place, { recursive: true, force: true });
  for (const folder of [
    path.join(root, 'config'),
    places.known,
    places.blacklist,
    places.captures,
    places.croppedKnown,
    places.croppedUnknown,
    places.logs,
  ]) {
    await mkdir(folder, { recursive: true });
  }

  await writeFile(
    path.join(root, '.env'),
    DOTENV +
      Object.entries(env)
        .map(([key, value]) => `${key}=${value}\n`)
        .join(''),
  );
  await writeFile(path.join(root, 'config/settings.py'), SETTINGS_PY);
  await writeFile(path.join(root, 'config/credentials_telegram.py'), CREDENTIALS_PY, { mode: 0o600 });
  await writeKnown(places, known, strangers);
  await writeBlacklist(places, blacklist);
  const log = await writeLog(places, known, blacklist, events, randomOf(seed));
  const kept = await writeCaptures(places, log.events, captures, known, strangers);
  return {
    knownNames: known.map(([name]) => name),
    blacklistNames: blacklist.map(([name]) => name),
    events: log.events.length,
    brokenLines: log.brokenLines,
    captures: kept,
    personOf: new Map([...blacklist, ...known]),
  };
}

type Named = readonly (readonly [name: string, person: Person])[];

function assign(names: readonly string[], persons: readonly Person[], count: number): Named {
  return names.slice(0, count).map((name, index) => {
    const person = persons[index];
    if (!person || count > names.length)
      throw new Error(`there are faces for ${persons.length} people, not for ${count}`);
    return [name, person] as const;
  });
}

/** One to three pictures and encodings each, in the order in which they were uploaded. */
async function writeKnown(places: Layout, known: Named, strangers: readonly Person[]): Promise<void> {
  const entries: { name: string; encoding: readonly number[] }[] = [];
  for (let round = 0; round < 3; round++) {
    for (const [index, [name, { portraits }]] of known.entries()) {
      const portrait = portraits[round];
      if (!portrait || round > index % 3) continue;
      entries.push({ name, encoding: portrait.encoding });
      const stamp = stampAt(YEAR_START + (round * 90 + index) * 86_400_000);
      // Every tenth picture was lost, and its encoding is still good.
      if ((round * known.length + index) % 10 !== 9) {
        await writeFile(path.join(places.known, `${slugOf(name)}_${stamp}.jpg`), portrait.jpeg);
      }
    }
  }
  const left = strangers.at(-1)?.portraits[0]?.jpeg;
  if (left) await writeFile(path.join(places.known, `${slugOf(DELETED_NAME)}_${stampAt(YEAR_START)}.jpg`), left);
  await writeFile(places.knownCache, facesPickle(entries));
}

async function writeBlacklist(places: Layout, blacklist: Named): Promise<void> {
  const entries = blacklist.map(([name, { portraits }]) => ({ name, encoding: portraits[0]?.encoding ?? [] }));
  for (const [name, { portraits }] of blacklist) {
    const file = `fbi_${name.toLowerCase().replaceAll(' ', '_')}.jpg`;
    await writeFile(path.join(places.blacklist, file), portraits[0]?.jpeg ?? '');
  }
  await writeFile(places.blacklistCache, facesPickle(entries));
}

async function writeLog(places: Layout, known: Named, blacklist: Named, count: number, random: Random) {
  const names = [...known.map(([name]) => name), DELETED_NAME];
  const moments = Array.from(
    { length: Math.max(0, count - FOLD.length) },
    () => YEAR_START + random() * (YEAR_END - YEAR_START),
  );
  const inFold = new Set<number>(count >= FOLD.length ? FOLD : []);
  const events: VisitorEvent[] = [...moments, ...inFold]
    .sort((a, b) => a - b)
    .map((moment) => {
      const [type, faces] = inFold.has(moment) ? (['NO_FACES', []] as const) : visit(names, blacklist, random);
      const capturePath =
        type === 'CAPTURE_FAILURE' ? null : path.join(places.captures, `visitor_${stampAt(moment)}.jpg`);
      return { timestamp: berlinIso(moment), type, faces, capturePath };
    });

  const lines = events.map((event, index) => (index % 4001 === 4000 ? numpyLine(event) : eventLine(event)));
  // A process that was killed while it wrote, and somebody who redirected an error message into the wrong file.
  const brokenLines = events.length < 100 ? [] : [Math.floor(events.length / 3), Math.floor(events.length / 2)];
  for (const [index, at] of brokenLines.entries()) {
    lines.splice(
      at - 1,
      0,
      index === 0 ? (lines[at]?.slice(0, 71) ?? '') : 'OSError: [Errno 28] No space left on device',
    );
  }
  await writeFile(places.eventsLog, lines.map((line) => `${line}\n`).join(''));
  return { events, brokenLines };
}

function visit(names: readonly string[], blacklist: Named, random: Random): readonly [EventType, readonly Identity[]] {
  const pick = <T>(items: readonly T[]) => items[Math.floor(random() * items.length)];
  const identity = (status: 'known' | 'blacklisted', name: string, furthest: number): Identity => {
    const distance = 0.04 + random() * (furthest - 0.04);
    return { status, name, confidence: 1 - distance, distance };
  };
  const knownFace = () => identity('known', pick(names) ?? DELETED_NAME, 0.6);
  const unknownFace: Identity = { status: 'unknown', name: null, confidence: 0, distance: Infinity };
  const chance = random();
  if (chance < 0.5) return ['KNOWN_VISITOR', [knownFace()]];
  if (chance < 0.56) return ['KNOWN_VISITOR', [knownFace(), knownFace()]];
  if (chance < 0.78) return ['UNKNOWN_VISITOR', [unknownFace]];
  if (chance < 0.82) return ['UNKNOWN_VISITOR', [knownFace(), unknownFace]];
  const wanted = pick([...blacklist.map(([name]) => name), CAUGHT_NAME]) ?? CAUGHT_NAME;
  if (chance < 0.84) return ['BLACKLIST_ALERT', [identity('blacklisted', wanted, 0.5)]];
  return chance < 0.96 ? ['NO_FACES', []] : ['CAPTURE_FAILURE', []];
}

/** The same line as a later numpy writes it: its numbers and booleans tell their type. */
function numpyLine({ timestamp, type, faces, capturePath }: VisitorEvent): string {
  const numpy = (value: number) => (Number.isFinite(value) ? new NumpyScalar('<f8', value) : float(value));
  return formatPythonLiteral({
    timestamp,
    event_type: type,
    faces: faces.map((face) => ({ ...face, confidence: numpy(face.confidence), distance: numpy(face.distance) })),
    capture_path: capturePath,
  });
}

/** The newest visits still have their picture, except every seventh, and the crops of their faces. */
async function writeCaptures(
  places: Layout,
  events: readonly VisitorEvent[],
  count: number,
  known: Named,
  strangers: readonly Person[],
): Promise<number> {
  const withPicture = events.filter(({ capturePath }) => capturePath !== null).slice(-Math.ceil((count * 7) / 6));
  let kept = 0;
  for (const [index, { faces, capturePath }] of withPicture.entries()) {
    if (index % 7 === 6 || kept === count || capturePath === null) continue;
    const [face] = faces;
    const person = known.find(([name]) => name === face?.name)?.[1] ?? strangers[index % strangers.length];
    const jpeg = person?.portraits[index % 3]?.jpeg ?? new Uint8Array();
    await writeFile(capturePath, jpeg);
    kept++;
    if (!face) continue;
    const stamp = path.basename(capturePath, '.jpg').slice('visitor_'.length);
    const folder = face.status === 'known' ? places.croppedKnown : places.croppedUnknown;
    const who = (face.name ?? 'unknown').toLowerCase().replaceAll(' ', '_');
    await writeFile(path.join(folder, `${who}_${stamp}_1.jpg`), jpeg);
  }
  return kept;
}

/** Local time of Berlin without a zone, microseconds included; text of the fold's two hours is the same. */
function berlinIso(moment: number): string {
  const hours = moment >= SUMMER[0] && moment < SUMMER[1] ? 2 : 1;
  const micros = Math.floor((moment % 1000) * 1000);
  const text = new Date(moment + hours * 3_600_000).toISOString().slice(0, 19);
  return micros === 0 ? text : `${text}.${String(micros).padStart(6, '0')}`;
}

function stampAt(moment: number): string {
  return berlinIso(moment).slice(0, 19).replace('T', '_').replaceAll(/[-:]/g, '');
}

/** Mulberry32: small, and the same on every machine. */
function randomOf(seed: number): Random {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

if (import.meta.main) {
  const root = path.resolve(process.argv[2] ?? path.join(import.meta.dirname, '../.legacy'));
  const { personOf, ...summary } = await seedLegacy(root);
  console.log(`Seeded ${root}`, { ...summary, people: personOf.size });
}
