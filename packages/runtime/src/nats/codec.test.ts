import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decode, encode } from './codec.ts';

const round = (value: unknown) => decode(encode(value, 'test'), 'test');
const framed = (header: string, rest = '') => {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(Buffer.byteLength(header));
  return Buffer.concat([Buffer.from('CHQ1'), length, Buffer.from(header), Buffer.from(rest)]);
};

describe('an item between machines', () => {
  it('arrives as it was, whatever JSON holds and with bytes anywhere in it', () => {
    const leaf = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.double({ noNaN: true, noDefaultInfinity: true }).map((value) => value + 0),
      fc.boolean(),
      fc.constant(null),
      fc.uint8Array({ maxLength: 20 }),
    );
    const { item } = fc.letrec((tie) => ({
      item: fc.oneof(
        { depthSize: 'small', withCrossShrink: true },
        leaf,
        fc.array(tie('item'), { maxLength: 4 }),
        fc.dictionary(fc.oneof(fc.string(), fc.constantFrom('__proto__', 'constructor', 'length')), tie('item'), {
          maxKeys: 4,
          noNullPrototype: true,
        }),
      ),
    }));
    fc.assert(
      fc.property(item, (value) => {
        expect(round(value)).toEqual(value);
      }),
      { numRuns: 150 },
    );
  });

  it('has its bytes in memory of its own, and in shared memory where they were', () => {
    const shared = new Uint8Array(new SharedArrayBuffer(3)).fill(7);
    const { own, all } = round({ own: Buffer.from('abc'), all: [shared, new Uint8Array()] }) as {
      own: Uint8Array;
      all: Uint8Array[];
    };
    expect(own).toEqual(new TextEncoder().encode('abc'));
    expect(own.buffer).toBeInstanceOf(ArrayBuffer);
    expect(own.buffer.byteLength).toBe(3);
    expect(all[0]?.buffer).toBeInstanceOf(SharedArrayBuffer);
    expect([...(all[0] ?? [])]).toEqual([7, 7, 7]);
    expect(all[1]).toHaveLength(0);
  });

  it('does not grow by the way its bytes travel', () => {
    expect(encode({ picture: new Uint8Array(1_000_000) }, 'test').length).toBeLessThan(1_000_200);
  });

  it('leaves out what is undefined in an object, as JSON does', () => {
    expect(round({ a: undefined, b: 1 })).toStrictEqual({ b: 1 });
  });

  it('is refused with the place of what would not arrive as it is', () => {
    const circle: Record<string, unknown> = {};
    circle['self'] = circle;
    for (const [value, text] of [
      [undefined, 'the item itself is undefined'],
      [{ at: new Date() }, 'item.at is of the class Date'],
      [{ list: [1, NaN] }, 'item.list.1 is NaN'],
      [{ list: [1, undefined] }, 'item.list.1 is undefined'],
      [{ id: 1n }, 'item.id is a bigint'],
      [{ act: () => 1 }, 'item.act is a function'],
      [new Map([[1, 2]]), 'the item itself is of the class Map'],
      [{ descriptor: new Float32Array(2) }, 'item.descriptor is of the class Float32Array'],
      [Object.create(Object.create(null) as object), 'the item itself is of the class of nobody'],
      [circle, 'item.self.self.self is nested deeper than 100, or in a circle'],
    ] as const)
      expect(() => encode(value, 'detect')).toThrow(`an item for detect cannot go to another machine: ${text}`);
  });
});

describe('bytes that somebody else wrote', () => {
  it('are refused where they are not an item, and change nothing', () => {
    for (const [bytes, reason] of [
      [Buffer.from(''), 'it does not begin with CHQ1'],
      [Buffer.from('CHQ2\0\0\0\0'), 'it does not begin with CHQ1'],
      [Buffer.from('CHQ1\0\0'), 'it does not begin with CHQ1'],
      [Buffer.from('CHQ1\xff\xff\xff\xff{}', 'latin1'), 'its header ends at 4294967303, behind its end'],
      [framed('{"value":'), 'JSON'],
      [framed('null'), 'null'],
      [framed('{"binaries":[]}'), 'its header has no value'],
      [framed('{"value":1,"binaries":[]}', 'x'), '1 bytes are left over'],
      [framed('{"value":null,"binaries":[{"path":[],"length":2}]}', 'x'), 'a binary of 2 bytes at 58 ends behind'],
      [framed('{"value":null,"binaries":[{"path":[],"length":-1}]}', 'x'), 'a binary of -1 bytes'],
      [framed('{"value":1,"binaries":[{"path":[],"length":1}]}', 'x'), 'a binary has no place'],
      [framed('{"value":{},"binaries":[{"path":["__proto__","x"],"length":1}]}', 'x'), 'no place at __proto__'],
      [framed('{"value":{},"binaries":[{"path":["constructor","x"],"length":1}]}', 'x'), 'no place at constructor'],
      [framed(`{"value":${'['.repeat(200_000)}${']'.repeat(200_000)},"binaries":[{"path":7,"length":0}]}`), ''],
    ] as const)
      expect(() => decode(bytes, 'detect')).toThrow(
        expect.objectContaining({
          code: 'RUN_TRANSPORT_BYTES',
          message: expect.stringContaining(reason) as string,
        }),
      );
    expect(({} as Record<string, unknown>)['x']).toBeUndefined();
  });

  it('never do anything but make an item or be refused', () => {
    const good = encode({ name: 'a', frame: { bytes: new Uint8Array(20) }, list: [1, null] }, 'test');
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(good.length - 1), fc.nat(255)), { minLength: 1, maxLength: 8 }),
        (changes) => {
          const bad = good.slice();
          for (const [at, byte] of changes) bad[at] = byte;
          try {
            decode(bad, 'test');
          } catch (error) {
            expect(error).toMatchObject({ code: 'RUN_TRANSPORT_BYTES' });
          }
        },
      ),
      { numRuns: 2_000 },
    );
  });
});
