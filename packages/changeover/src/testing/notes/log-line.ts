/** One line of the legacy's log: a Python dict as `repr` writes it, with strings and numbers as values. */
export type LogLine = Readonly<Record<string, string | number | null>>;

export function formatLogLine(line: LogLine): string {
  const items = Object.entries(line).map(([name, value]) => `${quote(name)}: ${formatValue(value)}`);
  return `{${items.join(', ')}}`;
}

function formatValue(value: string | number | null): string {
  if (value === null) return 'None';
  if (typeof value === 'string') return quote(value);
  return /^-?\d+$/.test(String(value)) ? `${value}.0` : String(value);
}

// As Python chooses: single quotes, unless the text has those and no double ones.
function quote(text: string): string {
  const mark = text.includes("'") && !text.includes('"') ? '"' : "'";
  const escaped = text.replace(/[\\'"\p{Cc}\p{Zl}\p{Zp}]/gu, (char) => {
    if (char === '\n') return '\\n';
    if (char === '\r') return '\\r';
    if (char === '\t') return '\\t';
    if (char === '\\' || char === mark) return `\\${char}`;
    if (char === "'" || char === '"') return char;
    const code = char.charCodeAt(0);
    return code < 0x100 ? `\\x${code.toString(16).padStart(2, '0')}` : `\\u${code.toString(16).padStart(4, '0')}`;
  });
  return `${mark}${escaped}${mark}`;
}

const ESCAPES: Readonly<Record<string, string>> = { n: '\n', r: '\r', t: '\t', '\\': '\\', "'": "'", '"': '"' };
const STRING = String.raw`'[^'\\]*(?:\\.[^'\\]*)*'|"[^"\\]*(?:\\.[^"\\]*)*"`;
const ITEM = new RegExp(String.raw`\s*(${STRING})\s*:\s*(${STRING}|None|-?\d+(?:\.\d+)?(?:e[+-]?\d+)?)\s*(,|$)`, 'y');

/** Reads what `formatLogLine` or Python wrote; null when the line is anything else. */
export function parseLogLine(text: string): LogLine | null {
  if (!text.startsWith('{') || !text.endsWith('}')) return null;
  const inner = text.slice(1, -1);
  const items: [string, string | number | null][] = [];
  ITEM.lastIndex = 0;
  while (ITEM.lastIndex < inner.length) {
    const [, name, value] = ITEM.exec(inner) ?? [];
    if (name === undefined || value === undefined) return null;
    items.push([unquote(name), value === 'None' ? null : /^['"]/.test(value) ? unquote(value) : Number(value)]);
  }
  return Object.fromEntries(items);
}

function unquote(literal: string): string {
  return literal
    .slice(1, -1)
    .replace(
      /\\(?:x([0-9a-f]{2})|u([0-9a-f]{4})|U([0-9a-f]{8})|(.))/gi,
      (whole, x?: string, u?: string, long?: string, plain?: string) => {
        const code = x ?? u ?? long;
        if (code !== undefined) return String.fromCodePoint(Number.parseInt(code, 16));
        return plain === undefined ? whole : (ESCAPES[plain] ?? whole);
      },
    );
}
