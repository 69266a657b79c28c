import { formatPythonLiteral, NumpyScalar, PyFloat, PyTuple, type PythonInput } from 'changeover/python';

/**
 * JSON as the original's Flask writes it: sorted keys, ASCII only, floats with their point, and `Infinity` and `NaN`, which no JSON
 * parser has to accept.
 */
export function flaskJson(value: PythonInput): string {
  return `${encode(value)}\n`;
}

function encode(value: PythonInput): string {
  if (value === null || typeof value === 'boolean') return String(value);
  if (typeof value === 'string') return asciiString(value);
  if (typeof value === 'number' || typeof value === 'bigint') return String(value);
  if (value instanceof PyFloat) return float(value);
  if (value instanceof NumpyScalar) return String(value.value);
  if (value instanceof PyTuple) return list(value.items);
  if (Array.isArray(value)) return list(value as readonly PythonInput[]);
  const entries = value instanceof Map ? [...value] : Object.entries(value as Record<string, PythonInput>);
  return `{${entries
    .map(([key, item]) => [String(key), item as PythonInput] as const)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, item]) => `${asciiString(key)}:${encode(item)}`)
    .join(',')}}`;
}

function list(items: readonly PythonInput[]): string {
  return `[${items.map(encode).join(',')}]`;
}

function float(value: PyFloat): string {
  if (Number.isFinite(value.value)) return formatPythonLiteral(value);
  return String(value.value);
}

function asciiString(text: string): string {
  return JSON.stringify(text).replace(
    /[\u007f-\uffff]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}
