import { ChangeoverError } from '../../errors.ts';

/** Element types that are carried, by numpy's own array-protocol names: byte order, kind, bytes. */
export type Dtype = `${'<' | '>'}${'i' | 'u'}${2 | 4 | 8}` | `${'<' | '>'}f${2 | 4 | 8}` | '|b1' | '|i1' | '|u1';

const DTYPE = /^(?:[<>](?:[iu][248]|f[248])|\|[biu]1)$/;

export function isDtype(text: string): text is Dtype {
  return DTYPE.test(text);
}

export function itemSize(dtype: Dtype): number {
  return Number(dtype.slice(2));
}

/** numpy's long name, e.g. `float64`. */
export function dtypeName(dtype: Dtype): string {
  const kind = { b: 'bool', i: 'int', u: 'uint', f: 'float' }[dtype.charAt(1)] ?? '';
  return dtype === '|b1' ? kind : `${kind}${itemSize(dtype) * 8}`;
}

/**
 * A numpy array: its bytes as numpy stores them, with typed access.
 *
 * @example NdArray.float64([0.25, -1]).toFloat64Array() // Float64Array [0.25, -1]
 */
export class NdArray {
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  /** Column-major where true; it matters only for two dimensions and more. */
  readonly fortranOrder: boolean;
  readonly data: Uint8Array;

  /** @throws CHG_DATA_NDARRAY when the bytes are not as many as shape and dtype say. */
  constructor(dtype: Dtype, shape: readonly number[], data: Uint8Array, fortranOrder = false) {
    const expected = shape.reduce((product, length) => product * length, itemSize(dtype));
    if (data.byteLength !== expected || !shape.every((length) => Number.isSafeInteger(length) && length >= 0)) {
      throw new ChangeoverError('CHG_DATA_NDARRAY', {
        what: `${dtypeName(dtype)}[${shape.join(',')}]`,
        expected: `${expected} bytes`,
        received: `${data.byteLength}`,
      });
    }
    this.dtype = dtype;
    this.shape = shape;
    this.data = data;
    this.fortranOrder = fortranOrder;
  }

  /** A float64 array of the given numbers; one-dimensional unless `shape` says otherwise. */
  static float64(values: ArrayLike<number>, shape: readonly number[] = [values.length]): NdArray {
    return new NdArray(
      '<f8',
      shape,
      littleEndian(values, 8, (view, at, value) => {
        view.setFloat64(at, value, true);
      }),
    );
  }

  static float32(values: ArrayLike<number>, shape: readonly number[] = [values.length]): NdArray {
    return new NdArray(
      '<f4',
      shape,
      littleEndian(values, 4, (view, at, value) => {
        view.setFloat32(at, value, true);
      }),
    );
  }

  static int64(values: ArrayLike<bigint>, shape: readonly number[] = [values.length]): NdArray {
    return new NdArray(
      '<i8',
      shape,
      littleEndian(values, 8, (view, at, value) => {
        view.setBigInt64(at, value, true);
      }),
    );
  }

  get length(): number {
    return this.data.byteLength / itemSize(this.dtype);
  }

  /** The elements in the order of the bytes as doubles. @throws CHG_DATA_NDARRAY unless dtype is float64 or float32. */
  toFloat64Array(): Float64Array {
    this.#expect('float64', 'float32');
    return Float64Array.from(this.values(), Number);
  }

  toFloat32Array(): Float32Array {
    this.#expect('float32');
    return Float32Array.from(this.values(), Number);
  }

  toBigInt64Array(): BigInt64Array {
    this.#expect('int64');
    return BigInt64Array.from(this.values(), BigInt);
  }

  /** Every element in the order of the bytes; 64-bit integers are `bigint`, booleans `boolean`. */
  values(): (number | bigint | boolean)[] {
    const view = new DataView(this.data.buffer, this.data.byteOffset, this.data.byteLength);
    const size = itemSize(this.dtype);
    return Array.from({ length: this.length }, (_, index) => readElement(view, index * size, this.dtype));
  }

  #expect(...names: string[]): void {
    const received = dtypeName(this.dtype);
    if (!names.includes(received)) {
      throw new ChangeoverError('CHG_DATA_NDARRAY', { what: 'dtype', expected: names.join(' or '), received });
    }
  }
}

/** A single numpy number such as `np.float64(0.42)` or `np.True_`, which numpy 2 writes into reprs and pickles. */
export class NumpyScalar {
  readonly dtype: Dtype;
  readonly value: number | bigint | boolean;
  constructor(dtype: Dtype, value: number | bigint | boolean) {
    this.dtype = dtype;
    this.value = value;
  }
  valueOf(): number | bigint | boolean {
    return this.value;
  }
}

/** The dtype of a numpy name such as `float64`, in little-endian order; null for what is not carried as a scalar. */
export function scalarDtype(name: string): Dtype | null {
  const match = /^(float|int|uint)(8|16|32|64)$/.exec(name);
  if (name === 'bool') return '|b1';
  if (!match) return null;
  const bytes = Number(match[2]) / 8;
  const dtype = `${bytes === 1 ? '|' : '<'}${name.charAt(0)}${bytes}`;
  return isDtype(dtype) && dtype !== '<f2' ? dtype : null;
}

export function scalarFromBytes(dtype: Dtype, bytes: Uint8Array): NumpyScalar {
  if (bytes.byteLength !== itemSize(dtype)) {
    throw new ChangeoverError('CHG_DATA_NDARRAY', {
      what: `a scalar ${dtypeName(dtype)}`,
      expected: `${itemSize(dtype)} bytes`,
      received: `${bytes.byteLength}`,
    });
  }
  const value = readElement(new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength), 0, dtype);
  return new NumpyScalar(
    dtype,
    typeof value === 'bigint' && Number.isSafeInteger(Number(value)) ? Number(value) : value,
  );
}

export function scalarToBytes({ dtype, value }: NumpyScalar): Uint8Array {
  const bytes = new Uint8Array(itemSize(dtype));
  const view = new DataView(bytes.buffer);
  const little = dtype.startsWith('<');
  if (dtype.charAt(1) === 'f') {
    if (bytes.length === 4) view.setFloat32(0, Number(value), little);
    else view.setFloat64(0, Number(value), little);
    return bytes;
  }
  // Two's complement of any width is the low bytes of the 64-bit one.
  const wide = new DataView(new ArrayBuffer(8));
  wide.setBigInt64(0, BigInt(value), true);
  for (let index = 0; index < bytes.length; index += 1) {
    bytes[little || bytes.length === 1 ? index : bytes.length - 1 - index] = wide.getUint8(index);
  }
  return bytes;
}

function readElement(view: DataView, at: number, dtype: Dtype): number | bigint | boolean {
  const little = dtype.startsWith('<');
  switch (dtype.slice(1)) {
    case 'b1':
      return view.getUint8(at) !== 0;
    case 'i1':
      return view.getInt8(at);
    case 'u1':
      return view.getUint8(at);
    case 'i2':
      return view.getInt16(at, little);
    case 'u2':
      return view.getUint16(at, little);
    case 'i4':
      return view.getInt32(at, little);
    case 'u4':
      return view.getUint32(at, little);
    case 'i8':
      return view.getBigInt64(at, little);
    case 'u8':
      return view.getBigUint64(at, little);
    case 'f4':
      return view.getFloat32(at, little);
    case 'f8':
      return view.getFloat64(at, little);
    default:
      return half(view.getUint16(at, little));
  }
}

/** IEEE 754 binary16, which `DataView` cannot read in every supported Node. */
function half(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0x1f) return fraction ? NaN : sign * Infinity;
  return sign * (exponent ? 2 ** (exponent - 25) * (1024 + fraction) : 2 ** -24 * fraction);
}

function littleEndian<T>(
  values: ArrayLike<T>,
  size: number,
  set: (view: DataView, at: number, value: T) => void,
): Uint8Array {
  const bytes = new Uint8Array(values.length * size);
  const view = new DataView(bytes.buffer);
  Array.from(values).forEach((value, index) => {
    set(view, index * size, value);
  });
  return bytes;
}
