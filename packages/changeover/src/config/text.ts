import type { Problem } from './source.ts';

/** A settings file is written by people. One beyond this is something else, and reading it would only take time and memory. */
export const MAX_SETTINGS_FILE_BYTES = 1 << 20;

export interface Decoded {
  /** Without its byte order mark; null when it cannot be read as text. */
  readonly text: string | null;
  readonly hasByteOrderMark: boolean;
  readonly problems: readonly Problem[];
}

export function decode(bytes: Uint8Array): Decoded {
  const failed = (message: string, remedy: string, line: number | null = null): Decoded => ({
    text: null,
    hasByteOrderMark: false,
    problems: [{ level: 'error', line, message, remedy }],
  });
  if (bytes.length > MAX_SETTINGS_FILE_BYTES) {
    const size = `${bytes.length} bytes`;
    return failed(
      `it has ${size}; a settings file has at most ${MAX_SETTINGS_FILE_BYTES}`,
      'Name the right file in the plan.',
    );
  }
  if ((bytes[0] === 0xff && bytes[1] === 0xfe) || (bytes[0] === 0xfe && bytes[1] === 0xff)) {
    return failed('it is UTF-16', 'Save it as UTF-8.', 1);
  }
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return failed('it is not UTF-8', 'Save it as UTF-8.', lineOfInvalidByte(bytes));
  }
  const nul = text.indexOf('\0');
  if (nul !== -1) return failed('it holds a NUL character', 'Name the right file in the plan.', lineAt(text, nul));
  const hasByteOrderMark = text.startsWith('\ufeff');
  return {
    text: hasByteOrderMark ? text.slice(1) : text,
    hasByteOrderMark,
    problems: hasByteOrderMark
      ? [
          {
            level: 'info',
            line: 1,
            message: 'it begins with a byte order mark, which some readers take for a part of the first name',
          },
        ]
      : [],
  };
}

/** 1-based. */
function lineAt(text: string, offset: number): number {
  let line = 1;
  for (let at = text.indexOf('\n'); at !== -1 && at < offset; at = text.indexOf('\n', at + 1)) line += 1;
  return line;
}

/** `lineAt` for many offsets of one text. */
export function lineFinder(text: string): (offset: number) => number {
  const starts = [0];
  for (let at = text.indexOf('\n'); at !== -1; at = text.indexOf('\n', at + 1)) starts.push(at + 1);
  return (offset) => {
    let low = 0;
    let high = starts.length;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if ((starts[middle] ?? 0) <= offset) low = middle;
      else high = middle;
    }
    return low + 1;
  };
}

export function endOfLine(text: string): '\r\n' | '\n' {
  return text.includes('\r\n') ? '\r\n' : '\n';
}

export interface Replacement {
  readonly start: number;
  readonly end: number;
  readonly by: string;
}

/** Replaces ranges that do not overlap; insertions at one place keep their order. */
export function replaceRanges(text: string, replacements: readonly Replacement[]): string {
  let result = '';
  let at = 0;
  for (const { start, end, by } of replacements.toSorted((a, b) => a.start - b.start)) {
    result += text.slice(at, start) + by;
    at = end;
  }
  return result + text.slice(at);
}

function lineOfInvalidByte(bytes: Uint8Array): number {
  const decoder = new TextDecoder('utf-8', { fatal: true });
  let line = 1;
  for (let start = 0; start < bytes.length; line += 1) {
    const newline = bytes.indexOf(0x0a, start);
    const end = newline === -1 ? bytes.length : newline + 1;
    try {
      decoder.decode(bytes.subarray(start, end));
    } catch {
      return line; // a line of UTF-8 is whole in itself: no character spans a newline
    }
    start = end;
  }
  return line;
}
