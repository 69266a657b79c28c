import { resolve } from 'node:path';
import type { Context } from '../plan/context.ts';
import type { Finding } from '../plan/words.ts';
import { findingOf } from './collect.ts';
import { readSettings } from './sources.ts';
import type { Leaf, SettingsFile } from './source.ts';
import { decode } from './text.ts';
import { treeOf } from './tree.ts';
import type { Tree } from './tree.ts';

/** What a file will hold. */
export interface Target {
  readonly file: SettingsFile;
  readonly path: string;
  readonly isSecret: boolean;
  /** Null while no file is there. */
  readonly before: Buffer | null;
  readonly after: Buffer;
}

/** A new file as it is now. */
export interface OpenedTarget {
  readonly file: SettingsFile;
  readonly path: string;
  readonly isSecret: boolean;
  readonly bytes: Buffer | null;
  readonly text: string;
  readonly byteOrderMark: string;
  readonly tree: Tree;
  /** Paths of values that the format could only hold as text. */
  readonly isText: readonly (readonly string[])[];
  readonly findings: readonly Finding[];
}

/** The new file as it is; a file that cannot be read is never overwritten. */
export async function openTarget(
  ctx: Pick<Context, 'root'>,
  file: SettingsFile,
  isSecretFile: boolean,
): Promise<OpenedTarget> {
  const path = resolve(ctx.root, file.file);
  const { bytes, problem } = await readSettings(path);
  const decoded = bytes === null ? { text: '', hasByteOrderMark: false, problems: [] } : decode(bytes);
  const reading =
    decoded.text === null || decoded.text.trim() === ''
      ? { entries: [], problems: [] }
      : file.format.parse(decoded.text);
  const problems = [...(problem === null ? [] : [problem]), ...decoded.problems, ...reading.problems].filter(
    ({ level }) => level !== 'info',
  );
  const readable = reading.entries.filter((entry) => entry.value !== undefined);
  return {
    file,
    path,
    isSecret: isSecretFile,
    bytes,
    text: decoded.text ?? '',
    byteOrderMark: decoded.hasByteOrderMark ? '\ufeff' : '',
    tree: treeOf(readable.map((entry) => ({ path: entry.path, value: entry.value ?? null }))),
    isText: readable.filter((entry) => entry.isText).map((entry) => entry.path),
    findings: problems.map((each) => findingOf(file.file, each)),
  };
}

/** The file with these values. */
export function finish(
  opened: OpenedTarget,
  leaves: readonly Leaf[],
): { readonly target: Target; readonly findings: readonly Finding[] } {
  const { file, path, isSecret: isSecretFile, bytes } = opened;
  const edited = file.format.edit(opened.text, leaves);
  const after = Buffer.from(opened.byteOrderMark + edited.text, 'utf8');
  return {
    target: { file, path, isSecret: isSecretFile, before: bytes, after },
    findings: edited.problems.map((problem) => findingOf(file.file, problem)),
  };
}
