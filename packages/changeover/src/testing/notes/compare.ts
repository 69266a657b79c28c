import { pictureOf, versionOf } from './content.ts';
import { type LedgerEntry, readLedger } from './ledger.ts';
import { allNotes, type Note, type NotesStore } from './note.ts';
import type { Pictures } from './pictures.ts';

/** Where the notes of a side are read: from the side itself, or from its stores while it is down. */
export type NotesSource = { readonly url: string } | { readonly store: NotesStore; readonly pictures?: Pictures };

/** A ledger held against one side. The promise is kept when every list but the last two is empty. */
export interface Comparison {
  /** Tokens with at least one acknowledged write. */
  readonly acknowledged: number;
  /** Acknowledged, and not there. */
  readonly missing: readonly string[];
  /** There more than once. */
  readonly duplicated: readonly string[];
  /** Acknowledged as deleted, and there again. */
  readonly resurrected: readonly string[];
  /** There in another version than the one acknowledged last, or with content that nobody wrote. */
  readonly wrong: readonly string[];
  /** Writes without an answer: what became of them. Either is right. */
  readonly unknown: { readonly stored: number; readonly notStored: number };
  /** There, and not in the ledger: somebody else's. */
  readonly foreign: readonly string[];
}

/** Versions that a token may have; `null` stands for not being there. */
interface Expectation {
  allowed: Set<number | null>;
  acknowledged: boolean;
  deleted: boolean;
  unknown: number[];
}

/** True when no acknowledged write was lost, doubled, undone or changed. */
export function isKept(comparison: Comparison): boolean {
  const { missing, duplicated, resurrected, wrong } = comparison;
  return missing.length + duplicated.length + resurrected.length + wrong.length === 0;
}

/**
 * Holds a client's ledger against the notes of one side. Quiesce both first: a note that is stored late is not there yet.
 *
 * @example
 * const comparison = await compareLedger(client.ledger, { url: gateway });
 * expect(comparison).toMatchObject({ missing: [], duplicated: [], resurrected: [], wrong: [] });
 */
export async function compareLedger(ledger: string, source: NotesSource): Promise<Comparison> {
  const { options, entries } = await readLedger(ledger);
  const expectations = expect(entries);
  const reader = readerOf(source);

  const found = new Map<string, Note[]>();
  for await (const note of allNotes(reader.list)) found.set(note.token, [...(found.get(note.token) ?? []), note]);

  const result = {
    acknowledged: 0,
    missing: [] as string[],
    duplicated: [] as string[],
    resurrected: [] as string[],
    wrong: [] as string[],
    unknown: { stored: 0, notStored: 0 },
    foreign: [...found.keys()].filter((token) => !expectations.has(token)),
  };
  for (const [token, expectation] of expectations) {
    const notes = found.get(token) ?? [];
    const [note] = notes;
    const version = note === undefined ? null : versionOf(note, options.tags);
    if (expectation.acknowledged) result.acknowledged++;
    for (const unknown of expectation.unknown)
      if (version === unknown) result.unknown.stored++;
      else result.unknown.notStored++;

    if (notes.length > 1) result.duplicated.push(token);
    if (note === undefined) {
      if (!expectation.allowed.has(null)) result.missing.push(token);
    } else if (version === null || !expectation.allowed.has(version)) {
      const isResurrected = expectation.deleted && [...expectation.allowed].every((allowed) => allowed === null);
      (isResurrected ? result.resurrected : result.wrong).push(token);
    } else if (options.pictures && reader.picture !== null && expectation.acknowledged) {
      const picture = await reader.picture(token);
      if (picture === null) result.missing.push(`${token}.bin`);
      else if (Buffer.compare(picture, pictureOf(token)) !== 0) result.wrong.push(`${token}.bin`);
    }
  }
  return result;
}

// A client writes a token again only after the answer to the write before, so the order of the ledger is the order of effect.
function expect(entries: readonly LedgerEntry[]): Map<string, Expectation> {
  const expectations = new Map<string, Expectation>();
  for (const { operation, token, version, status } of entries) {
    const expectation = expectations.get(token) ?? {
      allowed: new Set<number | null>([null]),
      acknowledged: false,
      deleted: false,
      unknown: [],
    };
    expectations.set(token, expectation);
    const target = operation === 'delete' ? null : version;
    // A refused creation means that the earlier, unanswered one was stored after all.
    const isDone = isAcknowledged(status) || (operation === 'create' && status === 409);
    if (isDone) {
      expectation.allowed = new Set([target]);
      expectation.acknowledged = true;
      expectation.deleted = operation === 'delete';
      expectation.unknown = [];
    } else if (isUnknown(status)) {
      expectation.allowed.add(target);
      if (target !== null) expectation.unknown.push(target);
    }
  }
  return expectations;
}

export function isAcknowledged(status: number | null): boolean {
  return status !== null && status >= 200 && status < 300;
}

/** No answer, or one that does not say whether the write was made. */
export function isUnknown(status: number | null): boolean {
  return status === null || status >= 500;
}

interface Reader {
  readonly list: (after: string) => Promise<readonly Note[]>;
  readonly picture: ((token: string) => Promise<Uint8Array | null>) | null;
}

const PAGE = 500;

function readerOf(source: NotesSource): Reader {
  if ('store' in source) {
    const { store, pictures } = source;
    return {
      list: (after) => store.list(after, PAGE),
      picture: pictures === undefined ? null : (token) => pictures.read(token),
    };
  }
  const get = async (path: string) => {
    const response = await fetch(new URL(path, source.url));
    if (response.ok || response.status === 404) return response;
    throw new Error(`GET ${response.url} answered ${response.status}: ${await response.text()}`);
  };
  return {
    list: async (after) => {
      const response = await get(`/notes?after=${encodeURIComponent(after)}`);
      return ((await response.json()) as { notes: Note[] }).notes;
    },
    picture: async (token) => {
      const response = await get(`/notes/${token}/picture`);
      return response.ok ? new Uint8Array(await response.arrayBuffer()) : null;
    },
  };
}
