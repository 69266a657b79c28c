import { existsSync, readFileSync, watch } from 'node:fs';
import path from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { z } from 'zod';
import { RuntimeError, reasonOf } from '../errors.ts';
import { leavesOf, type Leaf } from './paths.ts';
import { replaceFile } from './replace-file.ts';
import { Secret } from './secret.ts';

/** An editor writes a file in several steps; what it leaves this long is read. */
const SETTLE_MS = 50;
const TRUE = new Set(['true', '1', 'yes', 'on']);
const FALSE = new Set(['false', '0', 'no', 'off']);

/** Where a value came from; later ones win. */
export type Layer = 'default' | 'profile' | 'file' | 'environment' | 'command line';

type Tree = { [name: string]: unknown };

export interface SettingsOptions<Schema extends z.ZodType> {
  /** A zod object. `.meta({ restart: true })` marks what takes effect at the next start only; `secret()` is never shown. */
  readonly schema: Schema;
  /** A JSON file; one that is not there is no error. */
  readonly file?: string;
  /** Sets of values by name, between the defaults and the file. */
  readonly profiles?: Readonly<Record<string, Tree>>;
  /** Default: the environment's `PREFIX_PROFILE`, else none. */
  readonly profile?: string;
  /** Default `process.env`. */
  readonly environment?: Readonly<Record<string, string | undefined>>;
  /** Beginning of the environment's names: with `BELL`, `camera.frameRate` is `BELL_CAMERA_FRAME_RATE`. Default: no environment. */
  readonly prefix?: string;
  /** Further names that the environment may use, by setting: `{ 'camera.frameRate': ['CAPTURE_FPS'] }`. */
  readonly aliases?: Readonly<Record<string, readonly string[]>>;
  /** Values of the command line, by setting: `{ 'camera.frameRate': '10' }`. */
  readonly overrides?: Readonly<Record<string, string>>;
}

export interface Reload {
  /** Settings that have another value now. */
  readonly changed: readonly string[];
  /** Settings that have another value in the file and keep their old one until the service starts again. */
  readonly needsRestart: readonly string[];
}

export interface DescribedSetting {
  readonly path: string;
  /** A secret is not shown. */
  readonly value: unknown;
  readonly from: Layer;
  readonly isRestartOnly: boolean;
  readonly environment: readonly string[];
}

interface Parsed<T> {
  readonly value: T;
  readonly origins: ReadonlyMap<string, Layer>;
  /** Names of the environment that begin as ours do and mean nothing. */
  readonly unknown: readonly string[];
}

/**
 * Settings in layers (defaults, profile, file, environment, command line), checked as a whole and exchanged as a whole: who reads `current`
 * once has values that belong together.
 *
 * @example
 * const settings = Settings.load({ schema: z.object({ http: z.object({ port: z.number().default(8080) }) }), file: 'service.json', prefix: 'APP' });
 * settings.current.http.port;
 * @throws RuntimeError RUN_CONFIG_INVALID, with every problem and its layer; RUN_CONFIG_FILE; RUN_CONFIG_NAMES.
 */
export class Settings<Schema extends z.ZodType> {
  readonly #options: SettingsOptions<Schema>;
  readonly #leaves: readonly Leaf[];
  readonly #names: ReadonlyMap<string, Leaf>;
  #parsed: Parsed<z.output<Schema>>;

  static load<Schema extends z.ZodType>(options: SettingsOptions<Schema>): Settings<Schema> {
    return new Settings(options);
  }

  private constructor(options: SettingsOptions<Schema>) {
    this.#options = options;
    this.#leaves = leavesOf(options.schema);
    this.#names = this.#environmentNames();
    this.#parsed = this.#parse();
  }

  get current(): z.output<Schema> {
    return this.#parsed.value;
  }

  /** Names of the environment that begin with the prefix and are no setting: a slip of the pen, mostly. */
  get unknown(): readonly string[] {
    return this.#parsed.unknown;
  }

  /**
   * Reads all layers again. What is not valid changes nothing: the last good settings stay.
   *
   * @throws RuntimeError as `load`.
   */
  reload(): Reload {
    return this.#exchange(this.#parse());
  }

  /**
   * Writes values into the file and takes them over, all or none: `{ camera: { frameRate: 20 } }`; null takes a value out of the file again. The
   * file is exchanged as a whole, and readable by its owner alone where it is new.
   *
   * @throws RuntimeError RUN_CONFIG_CHANGE, with every problem: no file, not valid, no such setting, or a stronger layer holds it; RUN_CONFIG_FILE.
   */
  change(values: Readonly<Record<string, unknown>>): Reload {
    const { file } = this.#options;
    if (file === undefined) throw refused('RUN_CONFIG_CHANGE', ['there is no settings file to keep them in']);
    const problems: string[] = [];
    const content = structuredCopy(this.#readFile());
    const leaves = new Map(this.#leaves.map((leaf) => [leaf.path.join('.'), leaf]));
    for (const [name, value] of flat(values, leaves)) {
      const leaf = leaves.get(name);
      const from = this.#parsed.origins.get(name);
      if (leaf === undefined) problems.push(`${name}: there is no such setting`);
      else if (from === 'environment' || from === 'command line') problems.push(`${name}: the ${from} holds it`);
      else assign(content, leaf.path, value ?? undefined);
    }
    if (problems.length > 0) throw refused('RUN_CONFIG_CHANGE', problems);
    const text = `${JSON.stringify(content, null, 2)}\n`;
    const next = this.#parse(JSON.parse(text) as Tree, 'RUN_CONFIG_CHANGE');
    replaceFile(file, text);
    return this.#exchange(next);
  }

  #exchange(next: Parsed<z.output<Schema>>): Reload {
    const differing = this.#leaves.filter(({ path: at }) => !isSame(at, this.current, next.value));
    const needsRestart = differing.filter(({ isRestartOnly }) => isRestartOnly);
    const kept = structuredCopy(next.value as Tree);
    for (const { path: at } of needsRestart) assign(kept, at, valueAt(this.current, at));
    this.#parsed = { ...next, value: deepFrozen(kept) as z.output<Schema> };
    const names = (leaves: readonly Leaf[]) => leaves.map(({ path: at }) => at.join('.'));
    return {
      changed: names(differing.filter(({ isRestartOnly }) => !isRestartOnly)),
      needsRestart: names(needsRestart),
    };
  }

  /**
   * Reloads whenever the file changes, until `signal` aborts.
   *
   * @param onReload What changed, or why nothing did.
   */
  watch(onReload: (result: Reload | RuntimeError) => void, signal: AbortSignal): void {
    const { file } = this.#options;
    if (file === undefined) return;
    let timer: NodeJS.Timeout | undefined;
    // The folder, since a file that is replaced is another one; and its name, since other files change too.
    const watcher = watch(path.dirname(path.resolve(file)), { signal }, (_, name) => {
      if (name !== null && name !== path.basename(file)) return;
      clearTimeout(timer);
      timer = setTimeout(() => {
        try {
          const result = this.reload();
          if (result.changed.length + result.needsRestart.length > 0) onReload(result);
        } catch (error) {
          if (!(error instanceof RuntimeError)) throw error;
          onReload(error);
        }
      }, SETTLE_MS);
    });
    signal.addEventListener('abort', () => {
      clearTimeout(timer);
      watcher.close();
    });
  }

  /** Every setting with its value and its layer; secrets are not shown. */
  describe(): DescribedSetting[] {
    return this.#leaves.map((leaf) => {
      const name = leaf.path.join('.');
      const value = valueAt(this.current, leaf.path);
      return {
        path: name,
        value: leaf.isSecret && value !== undefined ? '[secret]' : value,
        from: this.#parsed.origins.get(name) ?? 'default',
        isRestartOnly: leaf.isRestartOnly,
        environment: [...this.#names].filter(([, other]) => other === leaf).map(([own]) => own),
      };
    });
  }

  /** JSON Schema of the file. */
  jsonSchema(): Readonly<Record<string, unknown>> {
    return z.toJSONSchema(this.#options.schema, { io: 'input', unrepresentable: 'any' });
  }

  #environmentNames(): Map<string, Leaf> {
    const { prefix, aliases = {} } = this.#options;
    const names = new Map<string, Leaf>();
    for (const leaf of this.#leaves) {
      const own = prefix === undefined ? [] : [[prefix, ...leaf.path.map(screaming)].join('_')];
      for (const name of [...own, ...(aliases[leaf.path.join('.')] ?? [])]) {
        const other = names.get(name);
        if (other !== undefined)
          throw new RuntimeError('RUN_CONFIG_NAMES', {
            name,
            paths: `${other.path.join('.')}, ${leaf.path.join('.')}`,
          });
        names.set(name, leaf);
      }
    }
    return names;
  }

  #parse(
    content = this.#readFile(),
    code: 'RUN_CONFIG_INVALID' | 'RUN_CONFIG_CHANGE' = 'RUN_CONFIG_INVALID',
  ): Parsed<z.output<Schema>> {
    const { schema, prefix, overrides = {}, environment = process.env, profiles = {} } = this.#options;
    const merged: Tree = {};
    const origins = new Map<string, Layer>();
    const problems: string[] = [];
    const profile = this.#options.profile ?? (prefix === undefined ? undefined : environment[`${prefix}_PROFILE`]);
    if (profile !== undefined) {
      const values = profiles[profile];
      if (values === undefined)
        problems.push(`profile: there is no profile ${profile}; known: ${Object.keys(profiles).join(', ') || 'none'}`);
      else merge(merged, values, 'profile', origins);
    }
    merge(merged, content, 'file', origins);
    const setText = (leaf: Leaf, text: string, layer: Layer, name: string) => {
      const value = read(leaf, text);
      if (value === undefined) problems.push(`${leaf.path.join('.')}: expected a ${leaf.form} (${layer}, ${name})`);
      else assign(merged, leaf.path, value);
      origins.set(leaf.path.join('.'), layer);
    };
    for (const [name, leaf] of this.#names) {
      const text = environment[name];
      if (text !== undefined) setText(leaf, text, 'environment', name);
    }
    for (const [name, text] of Object.entries(overrides)) {
      const leaf = this.#leaves.find(({ path: at }) => at.join('.') === name);
      if (leaf === undefined) problems.push(`${name}: there is no such setting (command line)`);
      else setText(leaf, text, 'command line', name);
    }
    const result = schema.safeParse(merged);
    if (!result.success)
      for (const { path: at, message } of result.error.issues) {
        const name = at.join('.');
        problems.push(`${name || 'the whole'}: ${message} (${origins.get(name) ?? 'default'})`);
      }
    if (!result.success || problems.length > 0) throw refused(code, problems);
    const ours = prefix === undefined ? [] : Object.keys(environment).filter((name) => name.startsWith(`${prefix}_`));
    const unknown = ours.filter((name) => !this.#names.has(name) && name !== `${prefix}_PROFILE`);
    return { value: deepFrozen(result.data), origins, unknown };
  }

  #readFile(): Tree {
    const { file } = this.#options;
    if (file === undefined || !existsSync(file)) return {};
    try {
      const content: unknown = JSON.parse(readFileSync(file, 'utf8'));
      if (isTree(content)) return content;
    } catch (error) {
      throw new RuntimeError('RUN_CONFIG_FILE', { file, reason: reasonOf(error) }, { cause: error });
    }
    throw new RuntimeError('RUN_CONFIG_FILE', { file, reason: 'it holds no object' });
  }
}

/** `frameRate` → `FRAME_RATE`. */
function screaming(name: string): string {
  return name
    .replaceAll(/([a-z0-9])([A-Z])/g, '$1_$2')
    .replaceAll(/[^A-Za-z0-9]/g, '_')
    .toUpperCase();
}

/** The value that a text stands for; undefined where it is none. */
function read({ form }: Leaf, text: string): unknown {
  const word = text.trim().toLowerCase();
  switch (form) {
    case 'text':
      return text;
    case 'number':
      return word === '' || Number.isNaN(Number(word)) ? undefined : Number(word);
    case 'boolean':
      return TRUE.has(word) ? true : FALSE.has(word) ? false : undefined;
    case 'json':
      return /^\s*[[{"]/.test(text) ? parsedJson(text) : text.split(',').map((part) => part.trim());
  }
}

function parsedJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined; // told as a setting that cannot be read
  }
}

function isTree(value: unknown): value is Tree {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Secret);
}

function merge(into: Tree, from: Tree, layer: Layer, origins: Map<string, Layer>, at: readonly string[] = []): void {
  for (const [name, value] of Object.entries(from)) {
    // What a file calls __proto__ is no setting of anybody.
    if (name === '__proto__') continue;
    const own = [...at, name];
    if (isTree(value)) {
      const below = isTree(into[name]) ? into[name] : {};
      into[name] = below;
      merge(below, value, layer, origins, own);
    } else {
      into[name] = value;
      origins.set(own.join('.'), layer);
    }
  }
}

/** Values by the whole names of their settings, some of which have objects for values. */
function flat(
  tree: Readonly<Tree>,
  leaves: ReadonlyMap<string, Leaf>,
  at: readonly string[] = [],
): (readonly [string, unknown])[] {
  return Object.entries(tree).flatMap(([own, value]) => {
    const name = [...at, own].join('.');
    return isTree(value) && !leaves.has(name) ? flat(value, leaves, [...at, own]) : [[name, value] as const];
  });
}

function refused(code: 'RUN_CONFIG_INVALID' | 'RUN_CONFIG_CHANGE', problems: readonly string[]): RuntimeError {
  return new RuntimeError(code, { problems: problems.map((line) => `  ${line}`).join('\n') });
}

function assign(into: Tree, at: readonly string[], value: unknown): void {
  const [name = '', ...rest] = at;
  if (rest.length === 0) {
    into[name] = value;
    return;
  }
  const below = isTree(into[name]) ? into[name] : {};
  into[name] = below;
  assign(below, rest, value);
}

function valueAt(tree: unknown, at: readonly string[]): unknown {
  return at.reduce<unknown>((value, name) => (isTree(value) ? value[name] : undefined), tree);
}

function isSame(at: readonly string[], a: unknown, b: unknown): boolean {
  const shown = (tree: unknown) => {
    const value = valueAt(tree, at);
    return value instanceof Secret ? value.reveal() : value;
  };
  return isDeepStrictEqual(shown(a), shown(b));
}

/** Objects and lists anew; secrets are values. */
function structuredCopy<T>(value: T): T {
  if (Array.isArray(value)) return value.map(structuredCopy) as T;
  if (!isTree(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([name, part]) => [name, structuredCopy(part)])) as T;
}

function deepFrozen<T>(value: T): T {
  if (Array.isArray(value) || isTree(value)) for (const part of Object.values(value)) deepFrozen(part);
  return Object.isFrozen(value) ? value : Object.freeze(value);
}
