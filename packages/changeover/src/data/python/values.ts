import { ChangeoverError } from '../../errors.ts';
import { NdArray, NumpyScalar } from './numpy.ts';

/**
 * A Python value. `str`, `bool`, `None`, `bytes`, `list`, `dict` and `set` are JavaScript's own `string`, `boolean`, `null`, `Uint8Array`,
 * array, `Map` and `Set`; an `int` is a `number` while it is a safe integer and a `bigint` beyond; what JavaScript has no
 * value for is a small class. {@link plain} turns all of it into plain objects and numbers.
 */
export type PythonValue =
  | null
  | boolean
  | number
  | bigint
  | string
  | Uint8Array
  | PyFloat
  | PyTuple
  | PyFrozenSet
  | PyByteArray
  | NdArray
  | NumpyScalar
  | PythonValue[]
  | PyDict
  | PySet;

export type PyDict = Map<PythonValue, PythonValue>;
export type PySet = Set<PythonValue>;

/**
 * What the writers take: every {@link PythonValue}, plain objects as `dict`, and numbers, which are an `int` when they are
 * safe integers and a `float` otherwise. Say `float(1)` for a `1.0`.
 */
export type PythonInput =
  | Exclude<PythonValue, PythonValue[] | PyDict | PySet>
  | readonly PythonInput[]
  | ReadonlyMap<PythonInput, PythonInput>
  | ReadonlySet<PythonInput>
  | { readonly [key: string]: PythonInput };

/** A Python `float`, so that `1.0` never comes back as `1`. Converts to a number by itself: `Number(x)`, `x > 0.5`, JSON. */
export class PyFloat {
  readonly value: number;
  constructor(value: number) {
    this.value = value;
  }
  valueOf(): number {
    return this.value;
  }
  toJSON(): number {
    return this.value;
  }
}

export class PyTuple {
  readonly items: readonly PythonInput[];
  /** Known from the start: to ask the items each time would be endless for tuples of shared tuples. */
  readonly isHashable: boolean;
  constructor(items: readonly PythonInput[]) {
    this.items = items;
    this.isHashable = items.every(isHashable);
  }
}

export class PyFrozenSet {
  readonly items: ReadonlySet<PythonInput>;
  constructor(items: Iterable<PythonInput>) {
    this.items = new Set(items);
  }
}

export class PyByteArray {
  readonly bytes: Uint8Array;
  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
  }
}

/** A Python `float`, also where the number has no fraction. @example formatPythonLiteral(float(1)) // '1.0' */
export function float(value: number): PyFloat {
  return new PyFloat(value);
}

/** A Python `tuple`. @example formatPythonLiteral(tuple('a')) // "('a',)" */
export function tuple(...items: PythonInput[]): PyTuple {
  return new PyTuple(items);
}

/** The shortest form of an `int`: a number while that is exact. */
export function int(value: bigint): number | bigint {
  const small = Number(value);
  return Number.isSafeInteger(small) ? small : value;
}

export type Plain =
  null | boolean | number | bigint | string | Uint8Array | NdArray | Plain[] | { [key: string]: Plain };

/**
 * The same value in plain JavaScript: floats and numpy scalars are numbers, tuples and sets arrays, dicts objects. The
 * difference between `1` and `1.0` is lost, so format the original, not this.
 *
 * @throws CHG_DATA_PYTHON_NO_COUNTERPART for a dict whose keys are not strings.
 * @example plain(parsePythonLiteral("{'distance': inf, 'box': (1, 2)}")) // { distance: Infinity, box: [1, 2] }
 */
export function plain(value: PythonInput): Plain {
  return toPlain(value, new Map(), 0);
}

/** Nested deeper than this is taken for an attack. */
export const MAX_DEPTH = 100;

function toPlain(value: PythonInput, done: Map<object, Plain>, depth: number): Plain {
  if (value === null || typeof value !== 'object' || value instanceof Uint8Array || value instanceof NdArray)
    return value;
  if (value instanceof PyFloat || value instanceof NumpyScalar) return value.value;
  if (value instanceof PyByteArray) return value.bytes;
  // Shared parts stay shared: a few hundred bytes of pickle can stand for billions of nested lists.
  const known = done.get(value);
  if (known !== undefined) return known;
  if (depth > MAX_DEPTH) throw unwritable(`something nested deeper than ${MAX_DEPTH}`);
  const items = itemsOf(value);
  const result: Plain = items
    ? Array.from(items, (item) => toPlain(item, done, depth + 1))
    : Object.fromEntries(
        entriesOf(value).map(([key, item]) => {
          if (typeof key !== 'string') throw unwritable('a dict with a key that is no str');
          return [key, toPlain(item, done, depth + 1)];
        }),
      );
  done.set(value, result);
  return result;
}

function unwritable(what: string): ChangeoverError {
  return new ChangeoverError('CHG_DATA_PYTHON_NO_COUNTERPART', { what, target: 'a plain object' });
}

/** Lists, dicts, sets, bytearrays and arrays are no keys; a tuple is as hashable as its items. */
export function isHashable(value: unknown): boolean {
  if (value instanceof PyTuple) return value.isHashable;
  if (typeof value !== 'object' || value === null) return true;
  return [Uint8Array, PyFloat, PyFrozenSet, NumpyScalar].some((type) => value instanceof type);
}

/** The members of a list, tuple or set; null for a dict. */
export function itemsOf(value: PythonInput & object): Iterable<PythonInput> | null {
  if (isList(value) || isSet(value)) return value;
  if (value instanceof PyTuple || value instanceof PyFrozenSet) return value.items;
  return null;
}

/** The entries of a dict or of a plain object. */
export function entriesOf(value: object): [PythonInput, PythonInput][] {
  return isDict(value) ? [...value] : Object.entries(value as Record<string, PythonInput>);
}

export function isList(value: unknown): value is readonly PythonInput[] {
  return Array.isArray(value);
}

function isDict(value: unknown): value is ReadonlyMap<PythonInput, PythonInput> {
  return value instanceof Map;
}

export function isSet(value: unknown): value is ReadonlySet<PythonInput> {
  return value instanceof Set;
}
