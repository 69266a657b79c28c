import { open } from 'node:fs/promises';
import { resolve } from 'node:path';
import type { Json } from '../plan/words.ts';
import { dotenvFormat } from './formats/dotenv.ts';
import { iniFormat } from './formats/ini.ts';
import type { IniOptions } from './formats/ini.ts';
import { jsonFormat } from './formats/json.ts';
import { tomlFormat } from './formats/toml.ts';
import { yamlFormat } from './formats/yaml.ts';
import type { YamlOptions } from './formats/yaml.ts';
import { readPython } from './python/module.ts';
import type { PythonOptions } from './python/module.ts';
import type { Entry, Format, Loaded, Problem, Reading, SettingsFile, SettingsSource } from './source.ts';
import { decode, MAX_SETTINGS_FILE_BYTES } from './text.ts';

export interface FileOptions {
  /** The file may be missing. Default false: a missing source is an error of `check`. */
  readonly optional?: boolean;
}

/**
 * An environment file of `NAME=value`. Where it is written, secrets may be in it only if it is the plan's `secrets`.
 *
 * @example
 * settings({ from: [dotenv('.env', { optional: true })], … })
 */
export function dotenv(file: string, options: FileOptions = {}): SettingsFile {
  return fileOf(file, dotenvFormat, options);
}

/** A YAML file with one mapping. Comments stay when it is written. */
export function yamlFile(file: string, options: FileOptions & YamlOptions = {}): SettingsFile {
  return fileOf(file, yamlFormat(options), options, { version: options.version ?? '1.2' });
}

/** A strict JSON file with one object. What is not changed keeps its bytes when it is written. */
export function jsonFile(file: string, options: FileOptions = {}): SettingsFile {
  return fileOf(file, jsonFormat, options);
}

/** A TOML file. Comments and order stay when it is written. */
export function tomlFile(file: string, options: FileOptions = {}): SettingsFile {
  return fileOf(file, tomlFormat, options);
}

/** An INI file of sections and names: the key of a setting is `section.name`. */
export function iniFile(file: string, options: FileOptions & IniOptions = {}): SettingsFile {
  return fileOf(file, iniFormat(options), options, { quotes: options.quotes ?? 'strip' });
}

/**
 * The plain assignments of a Python module, or of a class in it, read without running anything. `os.getenv('NAME', default)` makes
 * `NAME` a setting whose legacy default is known; a `.env` or environment among the sources overrides it.
 *
 * @example
 * pythonModule('config/settings.py', { class: 'Settings' })
 */
export function pythonModule(file: string, options: FileOptions & PythonOptions = {}): SettingsSource {
  const more = options.class === undefined ? {} : { class: options.class };
  return sourceOf('python', file, (text) => readPython(text, options), options, more);
}

/** These names of this process's environment; names that are not set are left out. */
export function environment(names: readonly string[]): SettingsSource {
  return {
    kind: 'environment',
    name: 'environment',
    spec: { kind: 'environment', names },
    load() {
      const entries = names.flatMap((name): Entry[] => {
        const value = process.env[name];
        return value === undefined ? [] : [{ key: name, path: [name], value, line: null, isText: true }];
      });
      return Promise.resolve({ entries, problems: [], bytes: Buffer.from(JSON.stringify(entries)) });
    },
  };
}

function fileOf(
  file: string,
  format: Format,
  options: FileOptions,
  more: Readonly<Record<string, Json>> = {},
): SettingsFile {
  const source = sourceOf(format.kind, file, (text) => format.parse(text), options, more);
  return { ...source, file, format };
}

function sourceOf(
  kind: string,
  file: string,
  parse: (text: string) => Reading,
  { optional = false }: FileOptions,
  more: Readonly<Record<string, Json>>,
): SettingsSource {
  return {
    kind,
    name: file,
    spec: { kind, file, optional, ...more },
    async load(ctx): Promise<Loaded> {
      const { bytes, problem } = await readSettings(resolve(ctx.root, file));
      if (bytes === null) {
        const isFine = problem === null && optional;
        const missing: Problem = {
          level: 'error',
          line: null,
          message: 'there is no such file',
          remedy: 'Correct the name, or say { optional: true }.',
        };
        return { entries: [], problems: isFine ? [] : [problem ?? missing], bytes: null };
      }
      const { text, problems } = decode(bytes);
      if (text === null) return { entries: [], problems, bytes };
      const reading = parse(text);
      return { entries: reading.entries, problems: [...problems, ...reading.problems], bytes };
    },
  };
}

/** Bytes, or null with a problem, or null without one where no file is. Never reads more than a settings file may have. */
export async function readSettings(
  path: string,
): Promise<{ readonly bytes: Buffer | null; readonly problem: Problem | null }> {
  try {
    const file = await open(path, 'r');
    try {
      const { size } = await file.stat();
      if (size > MAX_SETTINGS_FILE_BYTES) {
        const message = `it has ${size} bytes; a settings file has at most ${MAX_SETTINGS_FILE_BYTES}`;
        return {
          bytes: null,
          problem: { level: 'error', line: null, message, remedy: 'Name the right file in the plan.' },
        };
      }
      return { bytes: await file.readFile(), problem: null };
    } finally {
      await file.close();
    }
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown error';
    if (code === 'ENOENT' || code === 'ENOTDIR') return { bytes: null, problem: null };
    return {
      bytes: null,
      problem: { level: 'error', line: null, message: `it cannot be read (${code})`, remedy: 'Correct its rights.' },
    };
  }
}
