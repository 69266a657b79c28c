import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ChangeoverError } from '../../errors.ts';
import { NdArray, PyTuple, readPickle, tuple, writePickle } from './index.ts';

/** A pickle of protocol 4 without frame: what stands between its first two bytes and STOP. */
function pickle(...parts: (string | Uint8Array)[]): Uint8Array {
  return Buffer.concat([
    Buffer.of(0x80, 4),
    ...parts.map((part) => (typeof part === 'string' ? Buffer.from(part, 'latin1') : part)),
    Buffer.from('.'),
  ]);
}

function failure(bytes: Uint8Array): ChangeoverError {
  try {
    readPickle(bytes);
  } catch (error) {
    if (error instanceof ChangeoverError) return error as ChangeoverError;
    throw error;
  }
  throw new Error('was read');
}

function uint32(value: number): Uint8Array {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

describe('readPickle refuses to run code', () => {
  it.each([
    ['os.system', pickle('cos\nsystem\n(X', uint32(4), 'truetR'), 2],
    ['posix.system', pickle('\x8c\x05posix\x8c\x06system\x93(X', uint32(4), 'truetR'), 17],
    ['builtins.eval', pickle('cbuiltins\neval\n(X', uint32(1), '1tR'), 2],
    ['builtins.getattr', pickle('cbuiltins\ngetattr\n)R'), 2],
    ['numpy.load', pickle('cnumpy\nload\n)R'), 2],
    ['constructor.constructor', pickle('cconstructor\nconstructor\n)R'), 2],
    ['NEWOBJ', pickle('cbuiltins\nset\n)\x81'), 17],
    ['INST', pickle('(ios\nsystem\n'), 3],
    ['a persistent id', pickle('Pabc\n'), 2],
    ['a call of a value', pickle('X', uint32(1), 'x)R'), 9],
    ['BUILD of a value', pickle('}}b'), 4],
    ['numpy.dtype("O8")', objectArray(), 60],
    ['_codecs.encode with these arguments', pickle('c_codecs\nencode\n(X', uint32(1), 'aX', uint32(5), 'rot13tR'), 36],
    ['builtins.set as a value', pickle('cbuiltins\nset\n'), 16],
  ])('%s', (name, bytes, offset) => {
    const error = failure(bytes);
    expect(error.code).toBe('CHG_DATA_PICKLE_REFUSED');
    expect(error.message).toContain(name);
    expect(error.fields).toMatchObject({ offset });
  });

  function objectArray(): Uint8Array {
    return pickle('cnumpy.core.multiarray\nscalar\ncnumpy\ndtype\n(X', uint32(2), 'O8\x89\x88tR\x8c\x00\x86R');
  }
});

describe('readPickle does not trust lengths', () => {
  it.each([
    ['a string of four gigabytes', pickle('X\xff\xff\xff\xffabc')],
    ['bytes of 2^64', pickle('\x8e\xff\xff\xff\xff\xff\xff\xff\xff')],
    ['an integer of two gigabytes', pickle('\x8b\xff\xff\xff\x7f')],
    ['a frame beyond the file', pickle('\x95\xff\xff\xff\xff\x00\x00\x00\x00N')],
    ['a memo entry that is not there', pickle('h\x05')],
    ['a mark that is not there', pickle('t')],
    ['an empty stack', pickle('')],
    ['two values', pickle('NN')],
    ['a list item for a dict', pickle('}Na')],
    ['a key that cannot be hashed', pickle('}]Ns')],
    ['a string that is no UTF-8', pickle('\x8c\x02\xff\xff')],
    ['a surrogate pair in halves', pickle('\x8c\x06\xed\xa0\xbd\xed\xb8\x80')],
    ['half an entry', pickle('}(Nu')],
    ['protocol 0', Buffer.from('N.')],
    ['protocol 9', Buffer.of(0x80, 9, 0x4e, 0x2e)],
    ['nothing', new Uint8Array()],
    ['bytes after the end', Buffer.concat([pickle('N'), Buffer.from('x')])],
  ])('%s', (_name, bytes) => {
    expect(failure(bytes).code).toBe('CHG_DATA_PICKLE_BROKEN');
  });

  it('names the place where a truncated file ends, wherever that is', () => {
    const whole = writePickle({ encodings: [NdArray.float64([1, 2, 3])], names: ['Ann'], at: tuple(1, 2n ** 80n) });
    for (let length = 0; length < whole.length; length += 1) {
      expect(failure(whole.subarray(0, length)).code).toBe('CHG_DATA_PICKLE_BROKEN');
    }
  });

  it('refuses a file larger than asked for', () => {
    expect(() => readPickle(writePickle('x'.repeat(100)), { maxBytes: 50 })).toThrow('more than the 50');
  });

  it('refuses arrays whose shape and bytes differ', () => {
    const bytes = Buffer.from(writePickle(NdArray.float64([1, 2])));
    const shape = bytes.indexOf(Buffer.from('K\x01(K\x02', 'latin1'));
    bytes[shape + 4] = 200;
    expect(failure(bytes)).toMatchObject({ code: 'CHG_DATA_PICKLE_BROKEN' });
    expect(failure(bytes).message).toContain('expected 1600 bytes');
  });
});

describe('readPickle survives bombs', () => {
  it('of shared lists', () => {
    const level = Buffer.from('\x94h\x00h\x00\x86', 'latin1');
    const doubled = Array.from({ length: 90 }, (_, index) =>
      Buffer.concat([Buffer.of(0x94), Buffer.of(0x68, index, 0x68, index, 0x86)]),
    );
    expect(level).toHaveLength(6);
    expect(failure(pickle(']', ...doubled)).message).toMatch(/shared parts|left over/);
    const chain = Array.from({ length: 90 }, (_, index) => Buffer.of(0x94, 0x68, index, 0x86));
    expect(failure(pickle(']', ...chain)).message).toContain('shared parts for more than');
  });

  it('of nesting, also where tuples are keys', () => {
    expect(failure(pickle(')' + '\x85'.repeat(100_000))).message).toContain('nested deeper');
    expect(failure(pickle('}' + ')' + '\x85'.repeat(100_000) + 'Ns')).message).toContain('nested deeper');
    expect(failure(pickle(']'.repeat(100_000) + 'a'.repeat(99_999))).message).toContain('nested deeper');
  });

  it('of a list that contains itself', () => {
    expect(failure(pickle(']\x94h\x00a')).message).toContain('contains itself');
  });

  it('of marks and memo entries without end', () => {
    expect(failure(pickle('('.repeat(200_000))).code).toBe('CHG_DATA_PICKLE_BROKEN');
    const memo = Buffer.concat(
      Array.from({ length: 100_000 }, (_, index) => Buffer.concat([Buffer.from('r'), uint32(index * 40_000)])),
    );
    expect(readPickle(pickle('N', memo))).toBeNull();
  });

  it('of random bytes, with its own errors only', () => {
    const opcodes = fc.constantFrom(
      ...Buffer.from('()]}NK\x01a\x85\x86\x87esutbR\x93\x94h\x00q\x00\x90\x91\x8f0\x31\x8c\x01x', 'latin1'),
    );
    fc.assert(
      fc.property(
        fc.oneof(
          fc.uint8Array(),
          fc.array(opcodes).map((codes) => Uint8Array.from(codes)),
        ),
        (bytes) => {
          try {
            readPickle(pickle(bytes));
          } catch (error) {
            expect(error).toBeInstanceOf(ChangeoverError);
          }
        },
      ),
      { numRuns: 2000 },
    );
  });
});

describe('writePickle', () => {
  it('keeps one object one object', () => {
    const names = ['Ann'];
    const again = readPickle(writePickle({ a: names, b: names })) as Map<string, unknown>;
    expect(again.get('a')).toBe(again.get('b'));
  });

  it('refuses what contains itself and what cannot be a key', () => {
    const list: never[] = [];
    list.push(list as never);
    expect(() => writePickle(list)).toThrow('nested deeper');
    expect(() => writePickle(new Map([[[1], 1]]))).toThrow('a key that Python cannot hash');
    expect(() => writePickle(new Set([{ a: 1 }]))).toThrow('a key that Python cannot hash');
    expect(() => writePickle(new Set([new PyTuple([[]])]))).toThrow('a key that Python cannot hash');
  });
});
