import { isUtf8 } from 'node:buffer';

/** How Python writes numbers and strings. */

/** `repr(float)`: the shortest digits that read back, scientific from 1e16 and below 1e-4. */
export function floatRepr(value: number): string {
  if (Number.isNaN(value)) return 'nan';
  if (!Number.isFinite(value)) return value > 0 ? 'inf' : '-inf';
  const { sign, digits, exponent } = shortest(Object.is(value, -0) ? '-0' : String(value));
  if (exponent < -4 || exponent >= 16) return scientific(sign, digits, exponent);
  return positional(sign, digits, exponent);
}

/** numpy 2's repr of a float32: scientific already from 1e6. */
export function float32Repr(value: number): string {
  if (!Number.isFinite(value)) return floatRepr(value);
  let text = String(value);
  for (let precision = 1; precision <= 9; precision += 1) {
    text = value.toPrecision(precision);
    if (Math.fround(Number(text)) === value) break;
  }
  const { sign, digits, exponent } = shortest(Object.is(value, -0) ? '-0' : text);
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-4 || size >= 1e6)) return scientific(sign, digits, exponent);
  return positional(sign, digits, exponent);
}

/** Digits without leading or trailing zeros and the exponent of the first one. */
function shortest(text: string): { sign: string; digits: string; exponent: number } {
  const [, sign = '', whole = '', fraction = '', power = '0'] = /^(-?)(\d+)\.?(\d*)(?:e([+-]?\d+))?$/.exec(text) ?? [];
  const all = whole + fraction;
  const leading = /^0*/.exec(all)?.[0].length ?? 0;
  const digits = all.slice(leading).replace(/0+$/, '');
  if (digits === '') return { sign, digits: '0', exponent: 0 };
  return { sign, digits, exponent: whole.length - 1 - leading + Number(power) };
}

function positional(sign: string, digits: string, exponent: number): string {
  if (exponent < 0) return `${sign}0.${'0'.repeat(-exponent - 1)}${digits}`;
  const padded = digits.padEnd(exponent + 1, '0');
  return `${sign}${padded.slice(0, exponent + 1)}.${padded.slice(exponent + 1) || '0'}`;
}

function scientific(sign: string, digits: string, exponent: number): string {
  const mantissa = digits.length > 1 ? `${digits.charAt(0)}.${digits.slice(1)}` : digits;
  return `${sign}${mantissa}e${exponent < 0 ? '-' : '+'}${String(Math.abs(exponent)).padStart(2, '0')}`;
}

/** Everything `str.isprintable` is false for, and the backslash. */
const ESCAPED = /[\p{C}\p{Z}\\]/gu;
const SHORT_ESCAPES: Readonly<Record<string, string>> = { '\n': '\\n', '\r': '\\r', '\t': '\\t', '\\': '\\\\' };

/** `repr(str)`: single quotes unless only those occur inside. */
export function strRepr(text: string): string {
  const quote = text.includes("'") && !text.includes('"') ? '"' : "'";
  const body = text.replace(ESCAPED, (char) => {
    if (char === ' ') return char;
    const short = SHORT_ESCAPES[char];
    if (short !== undefined) return short;
    const code = char.codePointAt(0) ?? 0;
    const hex = code.toString(16);
    if (code < 0x100) return `\\x${hex.padStart(2, '0')}`;
    return code < 0x10000 ? `\\u${hex.padStart(4, '0')}` : `\\U${hex.padStart(8, '0')}`;
  });
  return quote + (quote === "'" ? body.replaceAll("'", "\\'") : body) + quote;
}

/** `repr(bytes)`; a bytearray's repr escapes single quotes even between double ones. */
export function bytesRepr(bytes: Uint8Array, escaped?: "'"): string {
  const quote = bytes.includes(0x27) && !bytes.includes(0x22) ? '"' : "'";
  let body = '';
  for (const byte of bytes) {
    const char = String.fromCharCode(byte);
    const short = char === quote || char === escaped ? `\\${char}` : SHORT_ESCAPES[char];
    body += short ?? (byte >= 0x20 && byte < 0x7f ? char : `\\x${byte.toString(16).padStart(2, '0')}`);
  }
  return `b${quote}${body}${quote}`;
}

/** UTF-8 that, like Python's `surrogatepass`, keeps half a surrogate pair. */
export function encodeText(text: string): Uint8Array {
  if (text.isWellFormed()) return Buffer.from(text, 'utf8');
  const parts = Array.from(text, (char) => {
    const code = char.codePointAt(0) ?? 0;
    if (code < 0xd800 || code > 0xdfff) return Buffer.from(char, 'utf8');
    return Buffer.of(0xe0 | (code >> 12), 0x80 | ((code >> 6) & 0x3f), 0x80 | (code & 0x3f));
  });
  return Buffer.concat(parts);
}

const ENCODED_SURROGATE = /\xed[\xa0-\xbf][\x80-\xbf]/g;

/** The opposite of {@link encodeText}; null where the bytes are no such text or no JavaScript string can hold it. */
export function decodeText(bytes: Uint8Array): string | null {
  const all = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (isUtf8(all)) return all.toString('utf8');
  const binary = all.toString('latin1');
  let text = '';
  let start = 0;
  for (const { index } of binary.matchAll(ENCODED_SURROGATE)) {
    const piece = all.subarray(start, index);
    if (!isUtf8(piece)) return null;
    const unit = 0xd000 | ((binary.charCodeAt(index + 1) & 0x3f) << 6) | (binary.charCodeAt(index + 2) & 0x3f);
    // Two halves of a pair that Python keeps apart would melt into one character here.
    if (isLow(unit) && piece.length === 0 && isHigh(text.charCodeAt(text.length - 1))) return null;
    text += piece.toString('utf8') + String.fromCharCode(unit);
    start = index + 3;
  }
  const last = all.subarray(start);
  return isUtf8(last) ? text + last.toString('utf8') : null;
}

export function isHigh(unit: number): boolean {
  return unit >= 0xd800 && unit <= 0xdbff;
}

export function isLow(unit: number): boolean {
  return unit >= 0xdc00 && unit <= 0xdfff;
}
