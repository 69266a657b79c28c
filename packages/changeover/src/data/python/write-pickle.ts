import { ChangeoverError } from '../../errors.ts';
import { isInt } from './format-literal.ts';
import { NdArray, NumpyScalar, scalarToBytes, type Dtype } from './numpy.ts';
import { encodeText } from './text.ts';
import {
  entriesOf,
  isHashable,
  isList,
  isSet,
  MAX_DEPTH,
  PyByteArray,
  PyFloat,
  PyFrozenSet,
  PyTuple,
  type PythonInput,
} from './values.ts';

export type PickleProtocol = 2 | 3 | 4 | 5;

/**
 * Writes a pickle that CPython reads as the same value, arrays with numpy 1 and numpy 2 alike. Numbers are an `int` when they
 * are safe integers and a `float` otherwise; a list or dict that occurs twice stays one object. Default protocol 4.
 *
 * @throws CHG_DATA_PYTHON_NO_COUNTERPART for values nested deeper than 100 levels, and for keys that Python cannot hash.
 * @example writePickle({ encodings: [NdArray.float64([0.25])], names: ['Ann'] }, { protocol: 4 })
 */
export function writePickle(value: PythonInput, options: { readonly protocol?: PickleProtocol } = {}): Uint8Array {
  const protocol = options.protocol ?? 4;
  const pickler = new Pickler(protocol);
  pickler.value(value, 0);
  const body = Buffer.concat([...pickler.parts, op('STOP')]);
  const head = Buffer.of(OP.PROTO, protocol);
  if (protocol < 4) return new Uint8Array(Buffer.concat([head, body]));
  return new Uint8Array(Buffer.concat([head, op('FRAME'), uint(body.length, 8), body]));
}

const OP = {
  PROTO: 0x80,
  FRAME: 0x95,
  STOP: 0x2e,
  MARK: 0x28,
  NONE: 0x4e,
  NEWTRUE: 0x88,
  NEWFALSE: 0x89,
  BININT: 0x4a,
  BININT1: 0x4b,
  LONG1: 0x8a,
  LONG4: 0x8b,
  BINFLOAT: 0x47,
  BINUNICODE: 0x58,
  SHORT_BINUNICODE: 0x8c,
  BINBYTES: 0x42,
  SHORT_BINBYTES: 0x43,
  BYTEARRAY8: 0x96,
  EMPTY_LIST: 0x5d,
  APPENDS: 0x65,
  EMPTY_DICT: 0x7d,
  SETITEMS: 0x75,
  EMPTY_SET: 0x8f,
  ADDITEMS: 0x90,
  FROZENSET: 0x91,
  EMPTY_TUPLE: 0x29,
  TUPLE: 0x74,
  LONG_BINPUT: 0x72,
  LONG_BINGET: 0x6a,
  GLOBAL: 0x63,
  STACK_GLOBAL: 0x93,
  REDUCE: 0x52,
  BUILD: 0x62,
} as const;

class Pickler {
  readonly parts: Uint8Array[] = [];
  readonly #protocol: PickleProtocol;
  /** Slot of every object, function and dtype that may be met again. */
  readonly #memo = new Map<unknown, number>();

  constructor(protocol: PickleProtocol) {
    this.#protocol = protocol;
  }

  value(value: PythonInput, depth: number): void {
    if (value === null) this.#op('NONE');
    else if (typeof value === 'boolean') this.#op(value ? 'NEWTRUE' : 'NEWFALSE');
    else if (typeof value === 'bigint') this.#int(value);
    else if (typeof value === 'number' && isInt(value)) this.#int(BigInt(value));
    else if (typeof value === 'number' || value instanceof PyFloat) this.#float(Number(value));
    else {
      this.#once(value, () => {
        this.#object(value, depth);
      });
    }
  }

  #object(value: string | (PythonInput & object), depth: number): void {
    if (typeof value === 'string') this.#text(value);
    else if (value instanceof Uint8Array) this.#bytes(value);
    else if (value instanceof PyByteArray) this.#byteArray(value.bytes);
    else if (value instanceof NumpyScalar) this.#scalar(value);
    else if (value instanceof NdArray) this.#array(value);
    // A value that contains itself ends here too.
    else if (depth >= MAX_DEPTH) throw unwritable(`something nested deeper than ${MAX_DEPTH}`);
    else this.#container(value, depth + 1);
  }

  #container(value: PythonInput & object, depth: number): void {
    if (isList(value)) {
      this.#op('EMPTY_LIST', 'MARK');
      this.#all(value, depth);
      this.#op('APPENDS');
    } else if (value instanceof PyTuple) {
      this.#tuple(() => {
        this.#all(value.items, depth);
      });
    } else if (isSet(value) || value instanceof PyFrozenSet) {
      this.#set(value instanceof PyFrozenSet ? value.items : value, value instanceof PyFrozenSet, depth);
    } else {
      this.#op('EMPTY_DICT', 'MARK');
      for (const [key, item] of entriesOf(value)) {
        this.#key(key, depth);
        this.value(item, depth);
      }
      this.#op('SETITEMS');
    }
  }

  #set(items: ReadonlySet<PythonInput>, isFrozen: boolean, depth: number): void {
    const members = (): void => {
      this.#op('MARK');
      for (const item of items) this.#key(item, depth);
    };
    if (this.#protocol >= 4) {
      if (!isFrozen) this.#op('EMPTY_SET');
      members();
      this.#op(isFrozen ? 'FROZENSET' : 'ADDITEMS');
    } else {
      this.#call(this.#builtins, isFrozen ? 'frozenset' : 'set', () => {
        this.#op('EMPTY_LIST');
        members();
        this.#op('APPENDS');
      });
    }
  }

  #all(items: Iterable<PythonInput>, depth: number): void {
    for (const item of items) this.value(item, depth);
  }

  #key(key: PythonInput, depth: number): void {
    if (!isHashable(key)) throw unwritable('a key that Python cannot hash');
    this.value(key, depth);
  }

  #int(value: bigint): void {
    const bytes = twosComplement(value);
    if (value >= 0n && value < 256n) this.#op('BININT1', uint(Number(value), 1));
    else if (BigInt.asIntN(32, value) === value) this.#op('BININT', int32(Number(value)));
    else if (bytes.length < 256) this.#op('LONG1', uint(bytes.length, 1), bytes);
    else this.#op('LONG4', uint(bytes.length, 4), bytes);
  }

  #float(value: number): void {
    const bytes = Buffer.alloc(8);
    bytes.writeDoubleBE(value);
    this.#op('BINFLOAT', bytes);
  }

  #text(text: string): void {
    const bytes = encodeText(text);
    if (this.#protocol >= 4 && bytes.length < 256) this.#op('SHORT_BINUNICODE', uint(bytes.length, 1), bytes);
    else this.#op('BINUNICODE', uint(bytes.length, 4), bytes);
  }

  #bytes(bytes: Uint8Array): void {
    if (this.#protocol >= 3) {
      if (bytes.length < 256) this.#op('SHORT_BINBYTES', uint(bytes.length, 1), bytes);
      else this.#op('BINBYTES', uint(bytes.length, 4), bytes);
    } else if (bytes.length === 0) {
      this.#call(this.#builtins, 'bytes', () => undefined);
    } else {
      this.#call('_codecs', 'encode', () => {
        this.#latin1(bytes, 'latin1');
      });
    }
  }

  #byteArray(bytes: Uint8Array): void {
    if (this.#protocol === 5) {
      this.#op('BYTEARRAY8', uint(bytes.length, 8), bytes);
    } else {
      this.#call(this.#builtins, 'bytearray', () => {
        if (this.#protocol > 2) this.#bytes(bytes);
        else this.#latin1(bytes, 'latin-1');
      });
    }
  }

  #latin1(bytes: Uint8Array, encoding: string): void {
    this.#text(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1'));
    this.#text(encoding);
  }

  #scalar(scalar: NumpyScalar): void {
    this.#call(MULTIARRAY, 'scalar', () => {
      this.#dtype(scalar.dtype);
      this.#bytes(scalarToBytes(scalar));
    });
  }

  #array(array: NdArray): void {
    this.#call(MULTIARRAY, '_reconstruct', () => {
      this.#function('numpy', 'ndarray');
      this.#tuple(() => {
        this.#int(0n);
      });
      this.#bytes(Buffer.from('b'));
    });
    this.#tuple(() => {
      this.#int(1n);
      this.#tuple(() => {
        for (const length of array.shape) this.#int(BigInt(length));
      });
      this.#dtype(array.dtype);
      this.#op(array.fortranOrder ? 'NEWTRUE' : 'NEWFALSE');
      this.#bytes(array.data);
    });
    this.#op('BUILD');
  }

  #dtype(dtype: Dtype): void {
    this.#once(Symbol.for(`dtype ${dtype}`), () => {
      this.#call('numpy', 'dtype', () => {
        this.#text(dtype.slice(1));
        this.#op('NEWFALSE', 'NEWTRUE');
      });
      this.#tuple(() => {
        this.#int(3n);
        this.#text(dtype.charAt(0));
        this.#op('NONE', 'NONE', 'NONE');
        this.#int(-1n);
        this.#int(-1n);
        this.#int(0n);
      });
      this.#op('BUILD');
    });
  }

  #call(module: string, name: string, args: () => void): void {
    this.#function(module, name);
    this.#tuple(args);
    this.#op('REDUCE');
  }

  #function(module: string, name: string): void {
    this.#once(Symbol.for(`${module} ${name}`), () => {
      if (this.#protocol < 4) {
        this.#op('GLOBAL', Buffer.from(`${module}\n${name}\n`));
        return;
      }
      this.#text(module);
      this.#text(name);
      this.#op('STACK_GLOBAL');
    });
  }

  #tuple(items: () => void): void {
    this.#op('MARK');
    items();
    this.#op('TUPLE');
  }

  /** Writes what `write` writes, remembers it, and from then on only refers to it. */
  #once(identity: unknown, write: () => void): void {
    if (this.#recall(identity)) return;
    write();
    const slot = this.#memo.size;
    this.#memo.set(identity, slot);
    this.#op('LONG_BINPUT', uint(slot, 4));
  }

  #recall(identity: unknown): boolean {
    const slot = this.#memo.get(identity);
    if (slot === undefined) return false;
    this.#op('LONG_BINGET', uint(slot, 4));
    return true;
  }

  get #builtins(): string {
    return this.#protocol < 3 ? '__builtin__' : 'builtins';
  }

  #op(...parts: (keyof typeof OP | Uint8Array)[]): void {
    for (const part of parts) this.parts.push(typeof part === 'string' ? op(part) : part);
  }
}

/** The name that numpy 1 and numpy 2 both know. */
const MULTIARRAY = 'numpy.core.multiarray';

function op(name: keyof typeof OP): Uint8Array {
  return Buffer.of(OP[name]);
}

function uint(value: number, width: 1 | 4 | 8): Uint8Array {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(value));
  return bytes.subarray(0, width);
}

function int32(value: number): Uint8Array {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32LE(value);
  return bytes;
}

function twosComplement(value: bigint): Uint8Array {
  let length = Math.ceil((value < 0n ? -value : value).toString(16).length / 2);
  if (BigInt.asIntN(length * 8, value) !== value) length += 1;
  const hex = BigInt.asUintN(length * 8, value)
    .toString(16)
    .padStart(length * 2, '0');
  return Buffer.from(hex, 'hex').reverse();
}

function unwritable(what: string): ChangeoverError {
  return new ChangeoverError('CHG_DATA_PYTHON_NO_COUNTERPART', { what, target: 'a pickle' });
}
