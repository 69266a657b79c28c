import { ChangeoverError } from '../../errors.ts';
import { isDtype, itemSize, NdArray, scalarFromBytes, type Dtype } from './numpy.ts';
import { isHashable, PyByteArray, PyFrozenSet, PyTuple, type PythonValue } from './values.ts';

/** Everything that may stand on the stack of the pickle machine. */
export type CallResult = PythonValue | Callable | Template;

type CallableName =
  | 'set'
  | 'frozenset'
  | 'bytearray'
  | 'bytes'
  | 'encode'
  | 'reconstruct'
  | 'scalar'
  | 'frombuffer'
  | 'ndarray'
  | 'dtype';

/** The whole whitelist. A name stands for what this file does with it; nothing is ever looked up in Python's sense. */
const NAMES: Readonly<Record<string, CallableName>> = {
  'builtins.set': 'set',
  '__builtin__.set': 'set',
  'builtins.frozenset': 'frozenset',
  '__builtin__.frozenset': 'frozenset',
  'builtins.bytearray': 'bytearray',
  '__builtin__.bytearray': 'bytearray',
  'builtins.bytes': 'bytes',
  '__builtin__.bytes': 'bytes',
  '_codecs.encode': 'encode',
  'numpy.core.multiarray._reconstruct': 'reconstruct',
  'numpy._core.multiarray._reconstruct': 'reconstruct',
  'numpy.core.multiarray.scalar': 'scalar',
  'numpy._core.multiarray.scalar': 'scalar',
  'numpy.core.numeric._frombuffer': 'frombuffer',
  'numpy._core.numeric._frombuffer': 'frombuffer',
  'numpy.ndarray': 'ndarray',
  'numpy.dtype': 'dtype',
};

export class Callable {
  readonly does: CallableName;
  readonly described: string;

  private constructor(does: CallableName, described: string) {
    this.does = does;
    this.described = described;
  }

  /** The callable of that name, or null when it is not on the whitelist. */
  static named(module: string, name: string): Callable | null {
    const full = `${module}.${name}`;
    const does = Object.hasOwn(NAMES, full) ? NAMES[full] : undefined;
    return does === undefined ? null : new Callable(does, full);
  }
}

/** An array between its making and its BUILD, or a dtype, which no reader is ever handed. */
export class Template {
  readonly described: string;
  /** Of a dtype: its kind and size, e.g. `f8`; null for an array. */
  readonly code: string | null;
  order = '|';
  /** The finished array. */
  result: NdArray | null = null;
  isBuilt = false;

  constructor(code: string | null) {
    this.code = code;
    this.described = code === null ? 'an unfinished numpy.ndarray' : `numpy.dtype(${JSON.stringify(code)})`;
  }
}

/** What CPython would get from calling `callable` with these arguments. */
export function call(callable: Callable, args: readonly CallResult[], offset: number): CallResult {
  const [first, second, third, fourth] = args;
  switch (callable.does) {
    case 'set':
      if (args.length === 1 && Array.isArray(first)) return new Set(hashables(first, callable, offset));
      break;
    case 'frozenset':
      if (args.length === 1 && Array.isArray(first)) return new PyFrozenSet(hashables(first, callable, offset));
      break;
    case 'bytes':
      if (args.length === 0) return new Uint8Array();
      break;
    case 'bytearray':
      if (args.length === 0) return new PyByteArray(new Uint8Array());
      if (args.length === 1 && first instanceof Uint8Array) return new PyByteArray(first);
      if (args.length === 2) return new PyByteArray(latin1(first, second, callable, offset));
      break;
    case 'encode':
      return latin1(first, second, callable, offset);
    case 'dtype':
      if (typeof first === 'string' && /^[a-zA-Z]\d{0,4}$/.test(first)) return new Template(first);
      break;
    case 'reconstruct':
      if (first instanceof Callable && first.does === 'ndarray') return new Template(null);
      break;
    case 'scalar': {
      const dtype = dtypeOf(first, offset);
      if (second instanceof Uint8Array && second.byteLength === itemSize(dtype)) return scalarFromBytes(dtype, second);
      break;
    }
    case 'frombuffer':
      if (fourth === 'C' || fourth === 'F') {
        const bytes = first instanceof PyByteArray ? first.bytes : first;
        return arrayOf(third, dtypeOf(second, offset), bytes, fourth === 'F', offset);
      }
      break;
    case 'ndarray':
      break;
  }
  throw refused(`${callable.described} with these arguments`, offset);
}

/** BUILD: gives a dtype its byte order and an array its content. */
export function build(target: Template, state: CallResult, offset: number): void {
  if (target.isBuilt || !(state instanceof PyTuple)) throw refused(`a second state for ${target.described}`, offset);
  const items = state.items as CallResult[];
  if (target.code === null) {
    const [version, shape, dtype, fortran, data] = items;
    if (version !== 1 || items.length !== 5) throw refused('an array state of another version', offset);
    target.result = arrayOf(shape, dtypeOf(dtype, offset), data, fortran === true || fortran === 1, offset);
  } else {
    const [, order, ...parts] = items;
    if (typeof order !== 'string' || parts.slice(0, 3).some((part) => part !== null)) {
      throw refused('a numpy.dtype with fields', offset);
    }
    target.order = order;
  }
  target.isBuilt = true;
}

function arrayOf(
  shape: CallResult | undefined,
  dtype: Dtype,
  data: CallResult | undefined,
  fortranOrder: boolean,
  offset: number,
): NdArray {
  const lengths = shape instanceof PyTuple ? shape.items.filter((item) => typeof item === 'number') : [];
  if (!(shape instanceof PyTuple) || lengths.length !== shape.items.length || !(data instanceof Uint8Array)) {
    throw refused('a numpy.ndarray without plain bytes', offset);
  }
  try {
    return new NdArray(dtype, lengths, data, fortranOrder);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new ChangeoverError('CHG_DATA_PICKLE_BROKEN', { reason, offset }, { cause });
  }
}

function dtypeOf(value: CallResult | undefined, offset: number): Dtype {
  if (value instanceof Template && value.code !== null) {
    const order = /^[biu]1$/.test(value.code) ? '|' : value.order === '>' ? '>' : '<';
    const dtype = order + value.code;
    if (isDtype(dtype)) return dtype;
    throw refused(value.described, offset);
  }
  throw refused('a numpy.ndarray without dtype', offset);
}

function latin1(
  text: CallResult | undefined,
  encoding: CallResult | undefined,
  callable: Callable,
  offset: number,
): Uint8Array {
  if (typeof text !== 'string' || (encoding !== 'latin1' && encoding !== 'latin-1')) {
    throw refused(`${callable.described} with these arguments`, offset);
  }
  for (let index = 0; index < text.length; index += 1) {
    if (text.charCodeAt(index) > 0xff) throw refused(`${callable.described} of other than latin1`, offset);
  }
  return new Uint8Array(Buffer.from(text, 'latin1'));
}

function hashables(items: PythonValue[], callable: Callable, offset: number): PythonValue[] {
  if (!items.every(isHashable)) throw refused(`${callable.described} of values that cannot be hashed`, offset);
  return items;
}

function refused(name: string, offset: number): ChangeoverError {
  return new ChangeoverError('CHG_DATA_PICKLE_REFUSED', { name, offset });
}
