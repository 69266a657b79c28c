import type { Context } from '../plan/context.ts';
import type { Finding } from '../plan/words.ts';
import { readAs } from './python/literal.ts';
import type { Entry, Loaded, Problem, SettingsSource } from './source.ts';

/** An entry with the file that states it. */
export interface Located extends Entry {
  readonly source: string;
}

/** A legacy key after precedence. */
export interface LegacyKey {
  readonly key: string;
  /** Names under which the legacy's code knows it: the attribute that an environment variable feeds. */
  readonly aliases: readonly string[];
  /** The entry that counts. */
  readonly entry: Located;
  /** True when nothing sets it and the legacy's code states what then holds. */
  readonly isDefault: boolean;
  readonly overridden: readonly Located[];
}

export interface Collected {
  readonly keys: readonly LegacyKey[];
  readonly findings: readonly Finding[];
  readonly loaded: readonly { readonly source: SettingsSource; readonly loaded: Loaded }[];
}

/** Where something stands: `.env:3`. */
export function where({ source, line }: { readonly source: string; readonly line: number | null }): string {
  return line === null ? source : `${source}:${line}`;
}

export function findingOf(source: string, { level, line, key, message, remedy }: Problem): Finding {
  return {
    level,
    about: key === undefined ? source : `${source}:${key}`,
    message: `${where({ source, line })}: ${key === undefined ? '' : `${key}: `}${message}`,
    ...(remedy === undefined ? {} : { remedy }),
  };
}

/** Reads all sources and settles which value of each key counts: later sources override earlier ones, everything overrides a default. */
export async function collect(ctx: Pick<Context, 'root'>, sources: readonly SettingsSource[]): Promise<Collected> {
  const loaded = await Promise.all(sources.map(async (source) => ({ source, loaded: await source.load(ctx) })));
  const findings: Finding[] = loaded.flatMap((each) =>
    each.loaded.problems.map((problem) => findingOf(each.source.name, problem)),
  );
  const stated = new Map<string, Located[]>();
  const defaults = new Map<string, Located[]>();
  for (const { source, loaded: reading } of loaded) {
    for (const entry of reading.entries) {
      const name = entry.defaultOf?.name ?? entry.key;
      const list = entry.defaultOf === undefined ? stated : defaults;
      list.set(name, [...(list.get(name) ?? []), { ...entry, source: source.name }]);
    }
  }
  const keys: LegacyKey[] = [];
  for (const name of new Set([...stated.keys(), ...defaults.keys()])) {
    const values = stated.get(name) ?? [];
    const fallbacks = defaults.get(name) ?? [];
    const aliases = [...new Set(fallbacks.map(({ key }) => key))].filter((key) => key !== name && !stated.has(key));
    findings.push(...disagreements(name, fallbacks));
    const winner = values.at(-1);
    const [first] = fallbacks;
    if (winner !== undefined) {
      const { entry, finding } = asRead(winner, first);
      if (finding !== null) findings.push(finding);
      keys.push({ key: name, aliases, entry, isDefault: false, overridden: [...values.slice(0, -1), ...fallbacks] });
    } else if (first !== undefined) {
      keys.push({ key: name, aliases, entry: first, isDefault: true, overridden: [] });
    }
  }
  return { keys, findings, loaded };
}

/** The text of a variable as the legacy's code reads it. */
function asRead(
  entry: Located,
  fallback: Located | undefined,
): { readonly entry: Located; readonly finding: Finding | null } {
  const read = fallback?.defaultOf?.read;
  if (read === undefined || read === 'text' || !entry.isText || typeof entry.value !== 'string')
    return { entry, finding: null };
  const value = readAs(entry.value, read);
  if (value !== undefined) return { entry: { ...entry, value, isText: false }, finding: null };
  const message = `the legacy reads it as ${typeof read === 'object' ? 'a boolean' : read} (${where(fallback ?? entry)}), and it is none`;
  const { line, key } = entry;
  return {
    entry,
    finding: findingOf(entry.source, { level: 'error', line, key, message, remedy: 'Correct the value.' }),
  };
}

function disagreements(name: string, fallbacks: readonly Located[]): Finding[] {
  const [first, ...others] = fallbacks;
  return others
    .filter((other) => JSON.stringify(other.value) !== JSON.stringify(first?.value))
    .map((other) => {
      const message = `the legacy has another default for ${name} at ${where(first ?? other)}; that one counts here`;
      return findingOf(other.source, {
        level: 'warning',
        line: other.line,
        key: other.key,
        message,
        remedy: `Say which one in legacyDefaults, with a default in the rule of ${name}.`,
      });
    });
}
