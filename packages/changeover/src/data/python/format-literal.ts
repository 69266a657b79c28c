import { ChangeoverError } from '../../errors.ts';
import { dtypeName, NdArray, NumpyScalar } from './numpy.ts';
import { bytesRepr, float32Repr, floatRepr, strRepr } from './text.ts';
import {
  entriesOf,
  isList,
  isSet,
  MAX_DEPTH,
  PyByteArray,
  PyFloat,
  PyFrozenSet,
  PyTuple,
  type PythonInput,
} from './values.ts';

/** A few shared parts can stand for gigabytes of text; longer results are refused. */
const MAX_LENGTH = 64 * 1024 * 1024;

/**
 * Writes a value exactly as Python's `repr` does (numpy scalars as numpy 2 does). Plain objects are dicts; numbers are an `int`
 * when they are safe integers and a `float` otherwise, so say `float(1)` for `1.0`.
 *
 * @throws CHG_DATA_PYTHON_NO_COUNTERPART for arrays of numpy (their repr is abbreviated) and for values nested too deep.
 * @example formatPythonLiteral({ name: null, box: tuple(1, 2), distance: Infinity }) // "{'name': None, 'box': (1, 2), 'distance': inf}"
 */
export function formatPythonLiteral(value: PythonInput): string {
  return new Formatter().format(value, 0);
}

class Formatter {
  /** Shared parts are written once and then repeated, so that the length, not the time, meets its limit. */
  readonly #written = new Map<object, string>();

  format(value: PythonInput, depth: number): string {
    const leaf = leafRepr(value);
    if (leaf !== null) return leaf;
    const container = value as PythonInput & object;
    const known = this.#written.get(container);
    if (known !== undefined) return known;
    if (depth > MAX_DEPTH) throw unwritable(`something nested deeper than ${MAX_DEPTH}`);
    const text = this.#container(container, depth);
    if (text.length > MAX_LENGTH) throw unwritable(`a value of more than ${MAX_LENGTH} characters`);
    this.#written.set(container, text);
    return text;
  }

  #container(value: PythonInput & object, depth: number): string {
    if (isList(value)) return `[${this.#list(value, depth)}]`;
    if (value instanceof PyTuple) {
      return value.items.length === 1 ? `(${this.#list(value.items, depth)},)` : `(${this.#list(value.items, depth)})`;
    }
    if (isSet(value)) return value.size === 0 ? 'set()' : `{${this.#list(value, depth)}}`;
    if (value instanceof PyFrozenSet) {
      return value.items.size === 0 ? 'frozenset()' : `frozenset({${this.#list(value.items, depth)}})`;
    }
    const entries = entriesOf(value).map(
      ([key, item]) => `${this.format(key, depth + 1)}: ${this.format(item, depth + 1)}`,
    );
    return `{${entries.join(', ')}}`;
  }

  #list(items: Iterable<PythonInput>, depth: number): string {
    return Array.from(items, (item) => this.format(item, depth + 1)).join(', ');
  }
}

/** The text of everything that holds no other values; null for what does. */
function leafRepr(value: PythonInput): string | null {
  if (value === null) return 'None';
  if (value === true) return 'True';
  if (value === false) return 'False';
  if (typeof value === 'string') return strRepr(value);
  if (typeof value === 'bigint') return String(value);
  if (typeof value === 'number') return isInt(value) ? String(value) : floatRepr(value);
  if (value instanceof PyFloat) return floatRepr(value.value);
  if (value instanceof NumpyScalar) return scalarRepr(value);
  if (value instanceof Uint8Array) return bytesRepr(value);
  if (value instanceof PyByteArray) return `bytearray(${bytesRepr(value.bytes, "'")})`;
  if (value instanceof NdArray) throw unwritable('a numpy array');
  return null;
}

/** `-0` is a float: Python has no negative zero among its ints. */
export function isInt(value: number): boolean {
  return Number.isSafeInteger(value) && !Object.is(value, -0);
}

function scalarRepr({ dtype, value }: NumpyScalar): string {
  if (typeof value === 'boolean') return value ? 'np.True_' : 'np.False_';
  const name = dtypeName(dtype);
  if (name === 'float64') return `np.float64(${floatRepr(Number(value))})`;
  if (name === 'float32') return `np.float32(${float32Repr(Number(value))})`;
  return `np.${name}(${value})`;
}

function unwritable(what: string): ChangeoverError {
  return new ChangeoverError('CHG_DATA_PYTHON_NO_COUNTERPART', { what, target: 'a Python literal' });
}
