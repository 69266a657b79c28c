import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Value } from '../plan/stores.ts';
import { decodeKey, encodeKey, exactInteger, hashRows } from './values.ts';

const value: fc.Arbitrary<Value> = fc.oneof(
  fc.constant(null),
  fc.string({ unit: 'binary' }),
  fc.integer(),
  fc.double({ noNaN: true }).filter((number) => !Object.is(number, -0)),
  fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }).map(exactInteger),
  fc.boolean(),
  fc.uint8Array({ maxLength: 20 }).map((bytes) => new Uint8Array(bytes)),
);

describe('an encoded key', () => {
  it('gives its key back', () => {
    fc.assert(
      fc.property(fc.array(value, { minLength: 1, maxLength: 4 }), (key) => {
        expect(decodeKey(encodeKey(key))).toEqual(key);
      }),
    );
  });

  it('is the same for equal keys only', () => {
    expect(encodeKey([1])).toBe(encodeKey([1n]));
    const different = [
      [1],
      ['1'],
      [1.5],
      [true],
      [null],
      ['n'],
      [new Uint8Array([0x31])],
      [1, 1],
      ['1,1'],
      [2n ** 60n],
    ];
    expect(new Set(different.map(encodeKey)).size).toBe(different.length);
  });
});

describe('a hash of rows', () => {
  it('does not depend on the order of columns, but on the order of rows and on types', () => {
    expect(hashRows([{ a: 1, b: 'x' }])).toBe(hashRows([{ b: 'x', a: 1n }]));
    expect(hashRows([{ a: 1 }, { a: 2 }])).not.toBe(hashRows([{ a: 2 }, { a: 1 }]));
    expect(hashRows([{ a: 1 }])).not.toBe(hashRows([{ a: '1' }]));
  });
});
