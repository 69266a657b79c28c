import { ChangeoverError } from '../../errors.ts';
import { call, build, Callable, Template, type CallResult } from './pickle-calls.ts';
import { decodeText } from './text.ts';
import {
  entriesOf,
  int,
  isHashable,
  itemsOf,
  MAX_DEPTH,
  PyByteArray,
  PyFloat,
  PyFrozenSet,
  PyTuple,
  type PythonValue,
} from './values.ts';

/** Largest pickle that is read unless `maxBytes` says otherwise: 64 MiB. */
const DEFAULT_MAX_PICKLE_BYTES = 64 * 1024 * 1024;

/** A kilobyte of shared parts can stand for billions of values; whoever walks the result would never end. */
const MAX_EXPANDED_VALUES = 20_000_000;

/**
 * Reads a Python pickle of protocol 2 to 5: the built-in types and numpy arrays and scalars of numbers. No code is run: of
 * all that a pickle may call only the functions that rebuild those types are known, and they are known by name alone.
 *
 * @throws CHG_DATA_PICKLE_REFUSED naming the function or opcode that is not allowed, and its byte offset.
 * @throws CHG_DATA_PICKLE_BROKEN for truncated, oversized or inconsistent bytes, with the byte offset.
 * @example readPickle(await readFile('known_faces_cache.pkl')) // Map { 'encodings' => [NdArray …], 'names' => ['Ann'] }
 */
export function readPickle(bytes: Uint8Array, options: { readonly maxBytes?: number } = {}): PythonValue {
  const maxBytes = options.maxBytes ?? DEFAULT_MAX_PICKLE_BYTES;
  if (bytes.byteLength > maxBytes) {
    throw broken(`${bytes.byteLength} bytes, more than the ${maxBytes} that are read`, maxBytes);
  }
  return new Unpickler(bytes).load();
}

const MARK = Symbol('mark');
type Item = CallResult | typeof MARK;

class Unpickler {
  readonly #bytes: Buffer;
  readonly #stack: Item[] = [];
  readonly #memo = new Map<number, CallResult>();
  #at = 0;
  /** Offset of the opcode being read, for messages. */
  #opcodeAt = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  load(): PythonValue {
    if (this.#byte() !== 0x80) throw broken('no pickle of protocol 2 or later (it does not start with 0x80)', 0);
    const protocol = this.#byte();
    if (protocol < 2 || protocol > 5) throw broken(`protocol ${protocol}; 2 to 5 are read`, 1);
    for (;;) {
      this.#opcodeAt = this.#at;
      const opcode = this.#byte();
      if (opcode === 0x2e) break;
      this.#step(opcode);
    }
    const result = this.#popValue();
    if (this.#stack.length > 0) throw this.#broken('values are left over at the end');
    if (this.#at < this.#bytes.length) throw broken('bytes after the end of the pickle', this.#at);
    return this.#checked(result);
  }

  #step(opcode: number): void {
    const value = this.#made(opcode);
    if (value === undefined) this.#act(opcode);
    else this.#stack.push(value);
  }

  /** What an opcode puts on the stack; undefined for one that does something else. */
  #made(opcode: number): CallResult | undefined {
    switch (opcode) {
      case 0x4e: // NONE
        return null;
      case 0x88: // NEWTRUE
        return true;
      case 0x89: // NEWFALSE
        return false;
      case 0x4a: // BININT
        return this.#take(4).readInt32LE();
      case 0x4b: // BININT1
        return this.#byte();
      case 0x4d: // BININT2
        return this.#take(2).readUInt16LE();
      case 0x8a: // LONG1
        return integer(this.#take(this.#byte()));
      case 0x8b: // LONG4
        return integer(this.#take(this.#length(4)));
      case 0x47: // BINFLOAT
        return new PyFloat(this.#take(8).readDoubleBE());
      case 0x8c: // SHORT_BINUNICODE
        return this.#text(1);
      case 0x58: // BINUNICODE
        return this.#text(4);
      case 0x8d: // BINUNICODE8
        return this.#text(8);
      case 0x43: // SHORT_BINBYTES
        return this.#copy(1);
      case 0x42: // BINBYTES
        return this.#copy(4);
      case 0x8e: // BINBYTES8
        return this.#copy(8);
      case 0x96: // BYTEARRAY8
        return new PyByteArray(this.#copy(8));
      case 0x5d: // EMPTY_LIST
        return [];
      case 0x7d: // EMPTY_DICT
        return new Map();
      case 0x8f: // EMPTY_SET
        return new Set();
      case 0x91: // FROZENSET
        return new PyFrozenSet(this.#popMark().map((item) => this.#hashable(item)));
      case 0x29: // EMPTY_TUPLE
        return new PyTuple([]);
      case 0x85: // TUPLE1
        return new PyTuple(this.#popSome(1) as PythonValue[]);
      case 0x86: // TUPLE2
        return new PyTuple(this.#popSome(2) as PythonValue[]);
      case 0x87: // TUPLE3
        return new PyTuple(this.#popSome(3) as PythonValue[]);
      case 0x74: // TUPLE
        return new PyTuple(this.#popMark() as PythonValue[]);
      case 0x68: // BINGET
        return this.#recall(this.#byte());
      case 0x6a: // LONG_BINGET
        return this.#recall(this.#length(4));
      case 0x63: // GLOBAL
        return this.#global(this.#line(), this.#line());
      case 0x93: {
        // STACK_GLOBAL
        const name = this.#popValue();
        const module = this.#popValue();
        if (typeof module !== 'string' || typeof name !== 'string') throw this.#broken('a function without a name');
        return this.#global(module, name);
      }
      case 0x52: {
        // REDUCE
        const args = this.#popValue();
        const callable = this.#popValue();
        if (!(callable instanceof Callable) || !(args instanceof PyTuple)) throw this.#refused('a call of a value');
        return call(callable, args.items as CallResult[], this.#opcodeAt);
      }
      default:
        return undefined;
    }
  }

  #act(opcode: number): void {
    switch (opcode) {
      case 0x95: // FRAME
        if (this.#length(8) > this.#bytes.length - this.#at) throw this.#broken('a frame longer than the file');
        return;
      case 0x28: // MARK
        this.#stack.push(MARK);
        return;
      case 0x30: // POP
        if (this.#stack.pop() === undefined) throw this.#broken('nothing to drop');
        return;
      case 0x31: // POP_MARK
        this.#popMark();
        return;
      case 0x61: // APPEND
        this.#append([this.#popValue()]);
        return;
      case 0x65: // APPENDS
        this.#append(this.#popMark());
        return;
      case 0x73: {
        // SETITEM
        const value = this.#popValue();
        this.#setItems([this.#popValue(), value]);
        return;
      }
      case 0x75: // SETITEMS
        this.#setItems(this.#popMark());
        return;
      case 0x90: // ADDITEMS
        this.#addItems(this.#popMark());
        return;
      case 0x94: // MEMOIZE
        this.#remember(this.#memo.size);
        return;
      case 0x71: // BINPUT
        this.#remember(this.#byte());
        return;
      case 0x72: // LONG_BINPUT
        this.#remember(this.#length(4));
        return;
      case 0x62: {
        // BUILD
        const state = this.#popValue();
        const target = this.#stack.at(-1);
        if (!(target instanceof Template)) throw this.#refused('BUILD of a value that is no numpy array or dtype');
        build(target, state, this.#opcodeAt);
        if (target.result) this.#stack[this.#stack.length - 1] = target.result;
        return;
      }
      default:
        throw this.#refused(OTHER_OPCODES[opcode] ?? `the opcode 0x${opcode.toString(16).padStart(2, '0')}`);
    }
  }

  #global(module: string, name: string): Callable {
    const callable = Callable.named(module, name);
    if (!callable) throw this.#refused(`${printable(module)}.${printable(name)}`);
    return callable;
  }

  #append(items: CallResult[]): void {
    const list = this.#stack.at(-1);
    if (!Array.isArray(list)) throw this.#broken('items for something that is no list');
    for (const item of items) list.push(item as PythonValue);
  }

  #setItems(items: CallResult[]): void {
    const dict = this.#stack.at(-1);
    if (!(dict instanceof Map) || items.length % 2 !== 0) throw this.#broken('entries for something that is no dict');
    for (let index = 0; index < items.length; index += 2) {
      dict.set(this.#hashable(items[index]), items[index + 1] as PythonValue);
    }
  }

  #addItems(items: CallResult[]): void {
    const set = this.#stack.at(-1);
    if (!(set instanceof Set)) throw this.#broken('items for something that is no set');
    for (const item of items) set.add(this.#hashable(item));
  }

  #hashable(value: CallResult | undefined): PythonValue {
    if (value === undefined || !isHashable(value)) throw this.#broken('a key that Python cannot hash');
    return value as PythonValue;
  }

  #popValue(): CallResult {
    const value = this.#stack.pop();
    if (value === undefined || value === MARK) throw this.#broken('a value is missing');
    return value;
  }

  #popSome(count: number): CallResult[] {
    return Array.from({ length: count }, () => this.#popValue()).reverse();
  }

  #popMark(): CallResult[] {
    const from = this.#stack.lastIndexOf(MARK);
    if (from < 0) throw this.#broken('a mark is missing');
    const items = this.#stack.splice(from) as CallResult[];
    items.shift();
    return items;
  }

  #remember(slot: number): void {
    const value = this.#stack.at(-1);
    if (value === undefined || value === MARK) throw this.#broken('nothing to remember');
    this.#memo.set(slot, value);
  }

  #recall(slot: number): CallResult {
    const value = this.#memo.get(slot);
    if (value === undefined) throw this.#broken(`the memo has no entry ${slot}`);
    // The memo was given an array before its BUILD.
    return value instanceof Template && value.result ? value.result : value;
  }

  #byte(): number {
    return this.#take(1)[0] ?? 0;
  }

  /** A view, never a copy: nothing is allocated before the length is known to be there. */
  #take(length: number): Buffer {
    if (length > this.#bytes.length - this.#at) throw this.#broken(`${length} bytes expected, the file ends before`);
    this.#at += length;
    return this.#bytes.subarray(this.#at - length, this.#at);
  }

  #length(width: 1 | 4 | 8): number {
    const bytes = this.#take(width);
    if (width === 1) return bytes.readUInt8();
    return width === 4 ? bytes.readUInt32LE() : Number(bytes.readBigUInt64LE());
  }

  #text(width: 1 | 4 | 8): string {
    const text = decodeText(this.#take(this.#length(width)));
    if (text === null) throw this.#broken('a string that is no UTF-8');
    return text;
  }

  #copy(width: 1 | 4 | 8): Uint8Array {
    return new Uint8Array(this.#take(this.#length(width)));
  }

  #line(): string {
    const end = this.#bytes.indexOf(0x0a, this.#at);
    if (end < 0) throw this.#broken('a name without its end');
    const line = this.#bytes.toString('latin1', this.#at, end);
    this.#at = end + 1;
    return line;
  }

  /** Looks once at everything that is handed out: no loops, no bombs, nothing that only the machinery knows. */
  #checked(root: CallResult): PythonValue {
    const sizes = new Map<object, number>();
    const open = new Set<object>();
    const sizeOf = (value: unknown, depth: number): number => {
      if (value instanceof Callable || value instanceof Template) {
        throw this.#refused(`${value.described} as a value`);
      }
      if (typeof value !== 'object' || value === null) return 1;
      const known = sizes.get(value);
      if (known !== undefined) return known;
      const children = membersOf(value as PythonValue & object);
      if (!children) return 1;
      if (open.has(value)) throw this.#refused('a value that contains itself');
      if (depth >= MAX_DEPTH) throw this.#refused(`something nested deeper than ${MAX_DEPTH}`);
      open.add(value);
      let size = 1;
      for (const child of children) size += sizeOf(child, depth + 1);
      if (size > MAX_EXPANDED_VALUES) throw this.#refused(`shared parts for more than ${MAX_EXPANDED_VALUES} values`);
      open.delete(value);
      sizes.set(value, size);
      return size;
    };
    sizeOf(root, 0);
    return root as PythonValue;
  }

  #broken(reason: string): ChangeoverError {
    return broken(reason, this.#opcodeAt);
  }

  #refused(name: string): ChangeoverError {
    return new ChangeoverError('CHG_DATA_PICKLE_REFUSED', { name, offset: this.#opcodeAt });
  }
}

/** Opcodes that a person may meet in somebody's pickle, by name. */
const OTHER_OPCODES: Readonly<Record<number, string>> = {
  0x50: 'PERSID (a persistent id)',
  0x51: 'BINPERSID (a persistent id)',
  0x69: 'INST (an instance of a class)',
  0x6f: 'OBJ (an instance of a class)',
  0x81: 'NEWOBJ (an instance of a class)',
  0x92: 'NEWOBJ_EX (an instance of a class)',
  0x82: 'EXT1 (the extension registry)',
  0x83: 'EXT2 (the extension registry)',
  0x84: 'EXT4 (the extension registry)',
  0x97: 'NEXT_BUFFER (data kept outside of the file)',
  0x98: 'READONLY_BUFFER (data kept outside of the file)',
};

function broken(reason: string, offset: number): ChangeoverError {
  return new ChangeoverError('CHG_DATA_PICKLE_BROKEN', { reason, offset });
}

function printable(text: string): string {
  return JSON.stringify(text.slice(0, 80)).slice(1, -1);
}

function integer(bytes: Buffer): number | bigint {
  if (bytes.length === 0) return 0;
  const value = BigInt(`0x${Buffer.from(bytes).reverse().toString('hex')}`);
  return int(BigInt.asIntN(bytes.length * 8, value));
}

function membersOf(value: PythonValue & object): Iterable<unknown> | null {
  const items = itemsOf(value);
  if (items) return items;
  return value instanceof Map ? entriesOf(value).flat() : null;
}
