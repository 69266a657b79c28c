import { join } from 'node:path';

/**
 * A path as its bytes, one character each. File names are bytes: a legacy may hold names that are not UTF-8, and a string that was
 * decoded from them does not lead back to the file.
 */
export type RawPath = string & { readonly __raw: unique symbol };

export function rawPath(text: string): RawPath {
  return Buffer.from(text, 'utf8').toString('latin1') as RawPath;
}

export function rawName(bytes: Uint8Array): RawPath {
  return Buffer.from(bytes).toString('latin1') as RawPath;
}

export function joinRaw(folder: RawPath, ...names: readonly (RawPath | string)[]): RawPath {
  return join(folder, ...names) as RawPath;
}

/** What the functions of `node:fs` take. */
export function fsPath(path: RawPath): Buffer {
  return Buffer.from(path, 'latin1');
}

/** For people: bytes that are not UTF-8 are shown as `\xNN`. */
export function showRaw(path: RawPath): string {
  const text = fsPath(path).toString('utf8');
  if (rawPath(text) === path) return text;
  return path.replace(/[\x80-\xff]/g, (byte) => `\\x${byte.charCodeAt(0).toString(16)}`);
}

/** The form in the manifest: text where it leads back to the same bytes, else base64. */
export type StoredPath = string | { readonly base64: string };

export function storePath(path: RawPath): StoredPath {
  const bytes = fsPath(path);
  const text = bytes.toString('utf8');
  return rawPath(text) === path ? text : { base64: bytes.toString('base64') };
}

export function unstorePath(stored: StoredPath): RawPath {
  return typeof stored === 'string' ? rawPath(stored) : rawName(Buffer.from(stored.base64, 'base64'));
}

/** True when `path` is `folder` or lies below it. */
export function isWithin(path: string, folder: string): boolean {
  return path === folder || path.startsWith(folder.endsWith('/') ? folder : `${folder}/`);
}
