import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Child, startChild } from '../child.ts';
import type { LegacyStore } from './stores.ts';
import type { ClientSummary } from './tally.ts';

const fileOf = (name: string) => fileURLToPath(new URL(`./${name}${path.extname(import.meta.url)}`, import.meta.url));

/** Absolute paths of the fixture's programs, for plans that start them by a command. */
export const NOTES_PROGRAMS = {
  legacy: fileOf('legacy'),
  next: fileOf('next'),
  nextSchema: fileOf('next-schema'),
  client: fileOf('client'),
} as const;

/** A running side of the fixture. */
export interface NotesSide extends AsyncDisposable {
  readonly url: string;
  readonly child: Child;
}

export interface LegacyOptions {
  readonly root: string;
  readonly store?: LegacyStore;
  readonly port?: number;
  readonly bootMs?: number;
}

/** Starts the legacy and resolves when it listens. Default: SQLite, a free port. */
export function startLegacy({ root, store = 'sqlite', port = 0, bootMs = 0 }: LegacyOptions): Promise<NotesSide> {
  return startSide(NOTES_PROGRAMS.legacy, {
    PORT: String(port),
    ROOT: root,
    STORE: store,
    BOOT_MS: String(bootMs),
  });
}

export interface NextOptions {
  /** A folder of its own, not the legacy's. */
  readonly root: string;
  /** Default: SQLite in `root`. */
  readonly databaseUrl?: string;
  readonly port?: number;
  readonly passive?: boolean;
}

/** Makes the new side's tables. Repeatable. */
export async function setUpNext({ root, databaseUrl }: NextOptions): Promise<void> {
  const child = startChild(NOTES_PROGRAMS.nextSchema, { env: { ROOT: root, DATABASE_URL: databaseUrl } });
  const { code } = await child.exited;
  if (code !== 0) throw new Error(`next-schema ended with ${String(code)}:\n${child.output()}`);
}

/** Starts the new side, whose tables must be there, and resolves when it listens. */
export function startNext({ root, databaseUrl, port = 0, passive = false }: NextOptions): Promise<NotesSide> {
  return startSide(NOTES_PROGRAMS.next, {
    PORT: String(port),
    ROOT: root,
    DATABASE_URL: databaseUrl,
    PASSIVE: passive ? '1' : '',
  });
}

async function startSide(program: string, env: Record<string, string | undefined>): Promise<NotesSide> {
  const child = startChild(program, { env });
  const line = await child.line(/^listening on /);
  return {
    url: line.split(' ')[2] ?? '',
    child,
    [Symbol.asyncDispose]: () => child.kill(),
  };
}

export interface ClientOptions {
  readonly url: string;
  /** File that must not exist yet. */
  readonly ledger: string;
  readonly lanes?: number;
  /** Requests per second, all lanes together; default as fast as answers come. */
  readonly rate?: number;
  readonly operations?: readonly ('update' | 'delete' | 'slow')[];
  readonly tags?: boolean;
  readonly pictures?: boolean;
  /** Share of requests that only read, 0 to 1; default 0.4. */
  readonly reads?: number;
  readonly timeoutMs?: number;
}

export interface NotesClient extends AsyncDisposable {
  readonly child: Child;
  readonly ledger: string;
  /** Lets it finish the requests under way and tell what it saw. */
  stop(): Promise<ClientSummary>;
}

/** Starts a client process and resolves when its first write was acknowledged. */
export async function startNotesClient(options: ClientOptions): Promise<NotesClient> {
  const args = ['--url', options.url, '--ledger', options.ledger];
  if (options.lanes !== undefined) args.push('--lanes', String(options.lanes));
  if (options.rate !== undefined) args.push('--rate', String(options.rate));
  if (options.operations !== undefined) args.push('--operations', options.operations.join(','));
  if (options.tags === true) args.push('--tags');
  if (options.pictures === true) args.push('--pictures');
  if (options.reads !== undefined) args.push('--reads', String(options.reads));
  if (options.timeoutMs !== undefined) args.push('--timeout', String(options.timeoutMs));
  const child = startChild(NOTES_PROGRAMS.client, { args });
  await child.line(/^writing$/);
  return {
    child,
    ledger: options.ledger,
    stop: async () => {
      await child.kill('SIGTERM');
      return JSON.parse(await child.line(/^\{/)) as ClientSummary;
    },
    [Symbol.asyncDispose]: () => child.kill(),
  };
}
