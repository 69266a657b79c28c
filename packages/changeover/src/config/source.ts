import type { Context } from '../plan/context.ts';
import type { Json } from '../plan/words.ts';

/** One setting as a source states it. */
export interface Entry {
  /** As people write it: `DEBOUNCE_TIME`, `server.port`. */
  readonly key: string;
  /** The same in steps; a step may hold dots. */
  readonly path: readonly string[];
  /** Undefined with `unread`: it is there, and its value cannot be known. */
  readonly value: Json | undefined;
  readonly line: number | null;
  /** The format knows only text, so the value may have to become what the schema asks for. */
  readonly isText: boolean;
  /** Why the value is undefined, e.g. `not a literal`. */
  readonly unread?: string;
  /** An integer that no double holds; `value` has its digits as text. */
  readonly isBigInteger?: true;
  /** The source states only what holds while the environment variable `name` is not set, and how the legacy reads that variable. */
  readonly defaultOf?: { readonly name: string; readonly read: EnvironmentReading };
}

/** What the legacy makes of the text of an environment variable; `words` are those that mean true. */
export type EnvironmentReading =
  'text' | 'int' | 'float' | { readonly words: readonly string[]; readonly ignoresCase: boolean };

/** Never holds a value: it is shown and logged. */
export interface Problem {
  readonly level: 'error' | 'warning' | 'info';
  readonly line: number | null;
  readonly key?: string;
  readonly message: string;
  readonly remedy?: string;
}

export interface Reading {
  readonly entries: readonly Entry[];
  readonly problems: readonly Problem[];
}

export interface Loaded extends Reading {
  /** What the source hash is made of; null where there is nothing. */
  readonly bytes: Uint8Array | null;
}

/** Where settings are read from. */
export interface SettingsSource {
  readonly kind: string;
  /** The file, or what stands for it: shown before the line. */
  readonly name: string;
  readonly spec: Json;
  load(ctx: Pick<Context, 'root'>): Promise<Loaded>;
}

/** A value for a place in a file. */
export interface Leaf {
  readonly path: readonly string[];
  readonly value: Json;
}

export interface Edited {
  readonly text: string;
  readonly problems: readonly Problem[];
}

/** A text format that is read with lines and edited in place. Both take text without a byte order mark and never throw. */
export interface Format {
  readonly kind: string;
  /** Names without nesting, all of them text: environment files. */
  readonly isFlat: boolean;
  parse(text: string): Reading;
  /** `text` with these values, everything else as it was, or a new file. Values that are already there change no byte. */
  edit(text: string, leaves: readonly Leaf[]): Edited;
}

/** A file that settings are read from or written to. */
export interface SettingsFile extends SettingsSource {
  /** Relative to the plan or absolute. */
  readonly file: string;
  readonly format: Format;
}
