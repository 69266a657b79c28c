import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { clean, cleanLine, columns, columnsOf, createStyle, truncate, wrap } from './text.ts';

describe('foreign text on a terminal', () => {
  it('cannot move the cursor, repaint the screen or reverse the reading direction', () => {
    expect(clean('a\u001b[2J\u001b]0;owned\u0007b\u0000c\u202ed')).toBe('ab c d');
    expect(clean('progress 10 %\rdone')).toBe('progress 10 %\ndone');
    expect(cleanLine('two\n  lines')).toBe('two lines');
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        expect(cleanLine(text)).not.toMatch(/\p{Cc}/u);
      }),
    );
  });

  it('never shows the password of an address', () => {
    expect(clean('cannot reach postgres://app:hunter2@db:5432/app today')).toBe(
      'cannot reach postgres://app:•••@db:5432/app today',
    );
  });
});

describe('columns', () => {
  it('align by what a terminal shows, not by characters or colours', () => {
    const { good } = createStyle(true);
    expect(
      columns(
        [
          [good('ok'), 'x'],
          ['日本', 'y'],
          ['e\u0301a', 'z'],
        ],
        { indent: 1, width: 80 },
      ).map(columnsOf),
    ).toEqual([8, 8, 6].map((it, index) => (index === 2 ? 8 : it)));
    expect(columnsOf('👋 hi')).toBe(5);
  });

  it('wrap the last cell under itself and pad numbers to the right', () => {
    expect(
      columns(
        [
          ['events', '12', 'one two three four five six'],
          ['faces', '1,234', 'x'],
        ],
        { indent: 2, width: 36, right: [1] },
      ),
    ).toEqual(['  events     12  one two three four', '                 five six', '  faces   1,234  x']);
  });

  it('are nothing for no rows', () => {
    expect(columns([], { width: 80 })).toEqual([]);
  });
});

it('a text is cut to its columns with an ellipsis', () => {
  expect(truncate('abcdef', 6)).toBe('abcdef');
  expect(truncate('abcdefg', 6)).toBe('abcde…');
  expect(truncate('日本語', 4)).toBe('日…');
});

it('a word longer than the line stays whole', () => {
  expect(wrap('a https://example.org/long b', 10)).toEqual(['a', 'https://example.org/long', 'b']);
  expect(wrap('', 10)).toEqual(['']);
});

it('without colour the text is as it was', () => {
  expect(createStyle(false).bad('x')).toBe('x');
  expect(createStyle(true).bad('x')).toBe('\u001b[31mx\u001b[39m');
});
