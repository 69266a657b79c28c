import { stripVTControlCharacters, styleText } from 'node:util';

type Format = Parameters<typeof styleText>[0];

/** How text is coloured; without colour every function returns its text as it is. */
export interface Style {
  readonly bold: (text: string) => string;
  readonly dim: (text: string) => string;
  readonly good: (text: string) => string;
  readonly bad: (text: string) => string;
  readonly warn: (text: string) => string;
  readonly accent: (text: string) => string;
}

export function createStyle(isColoured: boolean): Style {
  const paint = (format: Format) => (text: string) =>
    isColoured ? styleText(format, text, { validateStream: false }) : text;
  return {
    bold: paint('bold'),
    dim: paint('dim'),
    good: paint('green'),
    bad: paint('red'),
    warn: paint('yellow'),
    accent: paint('cyan'),
  };
}

/** What every render function needs to know of the screen. */
export interface Screen {
  readonly style: Style;
  /** Columns; Infinity where nothing must be wrapped. */
  readonly width: number;
}

/**
 * Text of foreign origin (a row's key, a server's answer, a file's name) made fit for a terminal: no control characters that could
 * move the cursor or repaint what was said, and no password of an address.
 */
export function clean(text: string): string {
  return (
    stripVTControlCharacters(text)
      .replace(/\r\n?/g, '\n')
      // Every control character but the line feed, and the marks that reverse the direction of text.
      .replace(/[^\P{Cc}\n]|[\u202A-\u202E\u2066-\u2069]/gu, ' ')
      .replace(/([a-z][a-z0-9+.-]*:\/\/[^\s:/@]*):[^\s@/]*@/gi, '$1:•••@')
  );
}

/** The same on one line. */
export function cleanLine(text: string): string {
  return clean(text).replace(/\s*\n\s*/g, ' ');
}

const WIDE =
  /\p{Emoji_Presentation}|[\u1100-\u115F\u2E80-\uA4CF\uAC00-\uD7A3\uF900-\uFAFF\uFE30-\uFE6F\uFF00-\uFF60\uFFE0-\uFFE6]/u;
const NARROW = /[\p{Mn}\p{Me}\p{Cf}]/u;

/** Columns that a text takes in a terminal, colours not counted. */
export function columnsOf(text: string): number {
  const plain = stripVTControlCharacters(text);
  // Nearly all text is ASCII, and this runs for every line of every repaint.
  if (/^[\x20-\x7e]*$/.test(plain)) return plain.length;
  let columns = 0;
  for (const character of plain) columns += WIDE.test(character) ? 2 : NARROW.test(character) ? 0 : 1;
  return columns;
}

export function padEnd(text: string, columns: number): string {
  return text + ' '.repeat(Math.max(0, columns - columnsOf(text)));
}

/** Cuts a text without colours to a number of columns, with an ellipsis. */
export function truncate(text: string, columns: number): string {
  if (columnsOf(text) <= columns) return text;
  if (columns < 1) return '';
  let cut = '';
  for (const character of text) {
    if (columnsOf(cut + character) > columns - 1) break;
    cut += character;
  }
  return `${cut}…`;
}

/** Breaks a text at blanks; a single longer word stays whole. */
export function wrap(text: string, width: number): string[] {
  return text.split('\n').flatMap((paragraph) => {
    const lines: string[] = [];
    let line = '';
    for (const word of paragraph.split(' ')) {
      const longer = line === '' ? word : `${line} ${word}`;
      if (line !== '' && columnsOf(longer) > width) {
        lines.push(line);
        line = word;
      } else line = longer;
    }
    return [...lines, line];
  });
}

const GAP = '  ';

/**
 * Rows in aligned columns; the last column is wrapped and keeps its indent. No borders: the eye follows the alignment.
 *
 * @example
 * ```ts
 * columns([['web', 'running'], ['worker', 'stopped']], { indent: 2, width: 80 }); // ['  web     running', '  worker  stopped']
 * ```
 */
export function columns(
  rows: readonly (readonly string[])[],
  options: { readonly indent?: number; readonly width: number; readonly right?: readonly number[] },
): string[] {
  const { indent = 0, width, right = [] } = options;
  const last = Math.max(0, ...rows.map((row) => row.length - 1));
  const widths = Array.from({ length: last }, (_, index) =>
    Math.max(0, ...rows.map((row) => columnsOf(row[index] ?? ''))),
  );
  return rows.flatMap((row) => {
    const cells = widths.map((cell, index) => {
      const text = row[index] ?? '';
      return right.includes(index) ? ' '.repeat(Math.max(0, cell - columnsOf(text))) + text : padEnd(text, cell);
    });
    const before = ' '.repeat(indent) + cells.map((cell) => cell + GAP).join('');
    const room = Math.max(20, width - columnsOf(before));
    return wrap(row[last] ?? '', room).map((line, index) =>
      ((index === 0 ? before : ' '.repeat(columnsOf(before))) + line).trimEnd(),
    );
  });
}

/** A heading with what belongs to it; nothing at all when there is nothing. */
export function block(screen: Screen, heading: string, lines: readonly string[]): string[] {
  return lines.length === 0 ? [] : [screen.style.bold(heading), ...lines, ''];
}
