import { describe, expect, it } from 'vitest';
import fc from 'fast-check';
import { Decoder } from './decode.ts';

const hex = (text: string) => Buffer.from(text.replaceAll(' ', ''), 'hex');
/** Relation 16385, public.t, with the columns id and v. */
const RELATION = hex('52 00004001 7075626c696300 7400 64 0002 01 696400 00000017 ffffffff 00 7600 00000019 ffffffff');

describe('what pgoutput writes', () => {
  it('is read as rows with what they were and what they are', () => {
    const decoder = new Decoder();
    expect(decoder.decode(hex('42 0000000000000001 0000000000000002 00000003'))).toEqual({ kind: 'begin' });
    expect(decoder.decode(RELATION)).toBeNull();
    const relation = { schema: 'public', name: 't', columns: ['id', 'v'] };
    expect(decoder.decode(hex('49 00004001 4e 0002 74 00000001 37 6e'))).toEqual({
      kind: 'row',
      relation,
      before: null,
      after: ['7', null],
    });
    expect(
      decoder.decode(hex('55 00004001 4b 0002 74 00000001 37 6e 4e 0002 74 00000001 38 74 00000002 c3a4')),
    ).toEqual({
      kind: 'row',
      relation,
      before: ['7', null],
      after: ['8', 'ä'],
    });
    expect(decoder.decode(hex('54 00000001 00 00004001'))).toEqual({ kind: 'truncate', relations: [relation] });
    expect(decoder.decode(hex('43 00 0000000000000010 0000000A0000001F 0000000000000000'))).toEqual({
      kind: 'commit',
      endLsn: 'A/1F',
    });
  });

  it('is refused where it is cut off, of an unknown kind, or about a relation that was not described', () => {
    expect(() => new Decoder().decode(hex('49 00004001 4e 0000'))).toThrow('relation 16385, which was not described');
    expect(() => new Decoder().decode(hex('7a'))).toThrow('unknown kind "z"');
    expect(() => new Decoder().decode(RELATION.subarray(0, 20))).toThrow('cut off');
    const decoder = new Decoder();
    decoder.decode(RELATION);
    expect(() => decoder.decode(hex('49 00004001 4e 0001 74 7fffffff 37'))).toThrow('cut off');
  });

  it('never is anything else than read or refused', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
        const decoder = new Decoder();
        decoder.decode(RELATION);
        try {
          decoder.decode(Buffer.from(bytes));
        } catch (error) {
          expect(String(error)).toMatch(/pgoutput: /);
        }
      }),
      { numRuns: 2000 },
    );
  });
});
