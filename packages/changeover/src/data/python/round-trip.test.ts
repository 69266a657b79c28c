import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { NO_NUMPY, pythonsWithNumpy } from '../../testing/cpython.ts';
import { dtypeName, NdArray, NumpyScalar, type Dtype } from './numpy.ts';
import {
  float,
  formatPythonLiteral,
  parsePythonLiteral,
  PyByteArray,
  PyFloat,
  PyFrozenSet,
  PyTuple,
  readPickle,
  writePickle,
  type PickleProtocol,
  type PythonValue,
} from './index.ts';

const PROTOCOLS: readonly PickleProtocol[] = [2, 3, 4, 5];
const DTYPES: readonly Dtype[] = ['<f8', '<f4', '<i8', '<i4', '<u2', '|u1', '|i1', '|b1', '<f2'];

const integers = fc.oneof(
  fc.maxSafeInteger(),
  fc.bigInt().filter((value) => !Number.isSafeInteger(Number(value))),
);
const texts = fc.oneof(fc.string(), fc.string({ unit: 'binary' }), fc.constantFrom("'", '"', '\ud83d', 'dtype <f8'));
const scalars = fc.oneof(
  fc.double().map((value) => new NumpyScalar('<f8', value)),
  fc.float().map((value) => new NumpyScalar('<f4', value)),
  fc.integer({ min: -128, max: 127 }).map((value) => new NumpyScalar('|i1', value)),
  fc.integer().map((value) => new NumpyScalar('<i8', value)),
  fc.boolean().map((value) => new NumpyScalar('|b1', value)),
);
const hashable: fc.Arbitrary<PythonValue>[] = [
  fc.constant(null),
  fc.boolean(),
  integers,
  texts,
  fc.double().map(float),
  fc.uint8Array().map((bytes) => new Uint8Array(bytes)),
];
const arrays = fc
  .tuple(fc.constantFrom(...DTYPES), fc.array(fc.nat(3), { maxLength: 3 }), fc.boolean(), fc.nat(255))
  .map(([dtype, shape, isFortran, fill]) => {
    const size = shape.reduce((product, length) => product * length, Number(dtype.slice(2)));
    const byte = dtype === '|b1' ? fill % 2 : fill;
    return new NdArray(
      dtype,
      shape,
      new Uint8Array(size).fill(byte),
      isFortran && shape.length > 1 && shape.every((length) => length > 1),
    );
  });

/** `sets` and `dictKeys` are left out where CPython is asked: it takes 1, 1.0 and True for one key, and sorts sets its own way. */
function pythonValues(options: { readonly arrays: boolean; readonly mixedKeys: boolean }): fc.Arbitrary<PythonValue> {
  return fc.letrec<{ value: PythonValue }>((tie) => ({
    value: fc.oneof(
      { maxDepth: 4, depthIdentifier: 'python' },
      ...hashable,
      scalars,
      fc.uint8Array().map((bytes) => new PyByteArray(new Uint8Array(bytes))),
      ...(options.arrays ? [arrays] : []),
      fc.array(tie('value')),
      fc.array(tie('value')).map((items) => new PyTuple(items)),
      fc
        .array(fc.tuple(options.mixedKeys ? fc.oneof(...hashable) : texts, tie('value')))
        .map((entries) => new Map<PythonValue, PythonValue>(entries)),
      ...(options.mixedKeys
        ? [
            fc.array(fc.oneof(...hashable)).map((items) => new Set(items)),
            fc.array(fc.oneof(...hashable)).map((items) => new PyFrozenSet(items)),
          ]
        : []),
    ),
  })).value;
}

it('a literal is read back as it was written', () => {
  fc.assert(
    fc.property(pythonValues({ arrays: false, mixedKeys: true }), (value) => {
      const text = formatPythonLiteral(value);
      const again = parsePythonLiteral(text);
      expect(again).toEqual(value);
      expect(formatPythonLiteral(again)).toBe(text);
    }),
  );
});

it.each(PROTOCOLS)('a pickle of protocol %i is read back as it was written', (protocol) => {
  fc.assert(
    fc.property(pythonValues({ arrays: true, mixedKeys: true }), (value) => {
      expect(readPickle(writePickle(value, { protocol }))).toEqual(value);
    }),
  );
});

const pythons = pythonsWithNumpy();
if (pythons.length === 0) it.skip(`CPython agrees (${NO_NUMPY})`);

describe.each(pythons)('CPython $path', (python) => {
  it('writes every float, string and bytes the same way', () => {
    const doubles = fc.sample(fc.double(), 3000).concat([1e16, 1e15, 9999999999999998, 1e-4, 1e-5, 5e-324, -0, 1e300]);
    const strings = fc
      .sample(fc.string({ unit: 'binary-ascii' }), 1000)
      .concat(["'", '"', `'"`, '\x7f\xa0\xad\u200b é😀']);
    const bytes = fc.sample(fc.uint8Array(), 500);
    const input = JSON.stringify({
      doubles: doubles.map((value) => Buffer.from(new Float64Array([value]).buffer).toString('hex')),
      strings,
      bytes: bytes.map((value) => Buffer.from(value).toString('hex')),
    });
    const output = python.run(
      `import json, sys, struct
data = json.load(sys.stdin)
json.dump([[repr(struct.unpack('<d', bytes.fromhex(h))[0]) for h in data['doubles']],
           [repr(s) for s in data['strings']], [repr(bytes.fromhex(h)) for h in data['bytes']]], sys.stdout)`,
      input,
    );
    expect(JSON.parse(output.toString())).toEqual([
      doubles.map((value) => formatPythonLiteral(float(value))),
      strings.map((value) => formatPythonLiteral(value)),
      bytes.map((value) => formatPythonLiteral(value)),
    ]);
  });

  it('evaluates a literal to the value whose repr it is', () => {
    const values = fc.sample(pythonValues({ arrays: false, mixedKeys: false }), 300);
    const output = python.run(
      `import json, sys
import numpy as np
names = {'inf': float('inf'), 'nan': float('nan'), 'np': np}
json.dump([[repr(eval(t, names)), np.__version__[0]] for t in json.load(sys.stdin)], sys.stdout)`,
      JSON.stringify(values.map((value) => formatPythonLiteral(value))),
    );
    const reprs = JSON.parse(output.toString()) as [string, string][];
    reprs.forEach(([repr, numpy], index) => {
      const text = formatPythonLiteral(values[index] ?? null);
      // numpy 1 writes np.float64(0.5) as 0.5.
      if (numpy === '1' && text.includes('np.')) return;
      // Which characters are printable changes with the version of Unicode; their value does not.
      if (/[^\0-\u02ff]/.test(text)) expect(parsePythonLiteral(repr)).toEqual(values[index]);
      else expect(repr).toBe(text);
    });
  });

  it.each(PROTOCOLS)('loads pickles of protocol %i and saves them again to the same value', (protocol) => {
    const values = fc.sample(pythonValues({ arrays: true, mixedKeys: false }), 200);
    const output = python.run(
      `import json, pickle, sys
value = pickle.load(sys.stdin.buffer)
json.dump([pickle.dumps(value, protocol=p).hex() for p in (2, 3, 4, 5)], sys.stdout)`,
      writePickle(values, { protocol }),
    );
    for (const saved of JSON.parse(output.toString()) as string[]) {
      expect(readPickle(Buffer.from(saved, 'hex'))).toEqual(values);
    }
  });

  it.each(PROTOCOLS)('writes pickles of protocol %i that are read as what they are', (protocol) => {
    const output = python.run(
      `import pickle, sys, numpy as np
value = {'encodings': [np.arange(128) / 7.0, np.arange(128) * -0.25], 'names': ['Ann', 'Zoë'], 'n': 2**70, 'small': -5,
  'f': [1.0, float('inf'), -0.0], 't': ((), (1,), (1, 2, 3), (1, 2, 3, 4)), 's': {1, 2}, 'fs': frozenset(['x']),
  'b': [b'', b'abc', bytes(range(256)) * 3], 'ba': bytearray(b'xyz'), 'none': None, 'yes': True, 'long': 'ä' * 70000,
  'order': np.asfortranarray(np.array([[1, 2, 3], [4, 5, 6]], dtype='>i4')), 'flag': np.array([True, False]),
  'zero': np.array(2.5, dtype='float32'), 'empty': np.zeros((0, 3)), 'slice': np.arange(8.0)[::2],
  'scalars': [np.float64(0.42), np.float32(0.5), np.int8(-3), np.uint64(2**63), np.bool_(True)]}
value['again'] = value['names']
value['half'] = np.array([0.5, -2, np.inf], dtype='float16')
sys.stdout.buffer.write(pickle.dumps(value, protocol=${protocol}))`,
    );
    const value = readPickle(output) as Map<string, unknown>;
    const array = (key: string): NdArray => value.get(key) as NdArray;
    const [first, second] = value.get('encodings') as NdArray[];
    expect(first?.toFloat64Array()).toEqual(Float64Array.from({ length: 128 }, (_, index) => index / 7));
    expect(second?.toFloat64Array()[127]).toBe(-31.75);
    expect(value.get('names')).toEqual(['Ann', 'Zoë']);
    expect(value.get('again')).toBe(value.get('names'));
    expect(value.get('n')).toBe(2n ** 70n);
    expect(value.get('small')).toBe(-5);
    expect(value.get('f')).toEqual([new PyFloat(1), new PyFloat(Infinity), new PyFloat(-0)]);
    expect(formatPythonLiteral(value.get('t') as PyTuple)).toBe('((), (1,), (1, 2, 3), (1, 2, 3, 4))');
    expect(value.get('s')).toEqual(new Set([1, 2]));
    expect(value.get('fs')).toEqual(new PyFrozenSet(['x']));
    expect((value.get('b') as Uint8Array[]).map((bytes) => bytes.length)).toEqual([0, 3, 768]);
    expect(value.get('ba')).toEqual(new PyByteArray(new Uint8Array(Buffer.from('xyz'))));
    expect(value.get('long')).toHaveLength(70000);
    expect(array('order')).toMatchObject({ dtype: '>i4', shape: [2, 3], fortranOrder: true });
    expect(array('order').values()).toEqual([1, 4, 2, 5, 3, 6]);
    expect(array('flag').values()).toEqual([true, false]);
    expect(array('zero')).toMatchObject({ dtype: '<f4', shape: [] });
    expect(array('empty')).toMatchObject({ shape: [0, 3], length: 0 });
    expect(array('slice').values()).toEqual([0, 2, 4, 6]);
    expect(array('half').values()).toEqual([0.5, -2, Infinity]);
    expect((value.get('scalars') as NumpyScalar[]).map((scalar) => [dtypeName(scalar.dtype), scalar.value])).toEqual([
      ['float64', 0.42],
      ['float32', 0.5],
      ['int8', -3],
      ['uint64', 2n ** 63n],
      ['bool', true],
    ]);
  });
});
