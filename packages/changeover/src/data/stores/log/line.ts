import { isUtf8 } from 'node:buffer';
import type { FileHandle } from 'node:fs/promises';
import { ChangeoverError } from '../../../errors.ts';
import { parsePythonLiteral } from '../../python/index.ts';

/** What a line must parse as to be a row. `text`: any line that is UTF-8. */
export type LineFormat = 'python' | 'json' | 'text';

/** A longer line is taken for damage: 64 MiB. */
const MAX_LINE_BYTES = 64 * 1024 * 1024;
const BLOCK_BYTES = 256 * 1024;

/** A complete line of a file: it had its newline when it was read. */
export interface Line {
  readonly offset: number;
  /** Without the newline; null where it is longer than `MAX_LINE_BYTES`. */
  readonly bytes: Buffer | null;
  /** Where the next line starts. */
  readonly end: number;
}

/** The complete lines between `from`, which must be the start of a line, and `to`. */
export async function* readLines(
  file: FileHandle,
  from: number,
  to: number,
  blockBytes = BLOCK_BYTES,
): AsyncGenerator<Line> {
  let offset = from;
  let parts: Buffer[] = [];
  let length = 0;
  for (let at = from; at < to;) {
    const block = Buffer.allocUnsafe(Math.min(blockBytes, to - at));
    const { bytesRead } = await file.read(block, 0, block.length, at);
    if (bytesRead === 0) return;
    let start = 0;
    for (let newline = block.indexOf(10); newline >= 0 && newline < bytesRead; newline = block.indexOf(10, start)) {
      const piece = block.subarray(start, newline);
      const bytes = length + piece.length > MAX_LINE_BYTES ? null : joined(parts, piece);
      start = newline + 1;
      yield { offset, bytes, end: at + start };
      offset = at + start;
      parts = [];
      length = 0;
    }
    length += bytesRead - start;
    // The start of an endless line is not kept: nobody will look at it.
    parts = length > MAX_LINE_BYTES ? [] : [...parts, block.subarray(start, bytesRead)];
    at += bytesRead;
  }
}

/** Why these bytes are no row of the format, or null when they are one. Nothing is evaluated. */
export function reasonAgainst(bytes: Buffer | null, format: LineFormat): string | null {
  if (bytes === null) return `longer than ${MAX_LINE_BYTES} bytes`;
  if (!isUtf8(bytes)) return 'bytes that are not UTF-8';
  if (format === 'text') return null;
  const text = bytes.toString('utf8');
  if (text.trim() === '') return 'an empty line';
  try {
    if (format === 'python') parsePythonLiteral(text);
    else JSON.parse(text);
    return null;
  } catch (error) {
    if (error instanceof ChangeoverError || error instanceof SyntaxError) return error.message.slice(0, 200);
    throw error;
  }
}

function joined(parts: readonly Buffer[], last: Buffer): Buffer {
  return parts.length === 0 ? last : Buffer.concat([...parts, last]);
}
