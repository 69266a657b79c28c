import { describe, expect, it } from 'vitest';
import { parseRate } from './rate.ts';

describe('a rate', () => {
  it('is rows or bytes in a second, with or without saying so', () => {
    expect(parseRate('20MB')).toEqual({ perSecond: 20_000_000, unit: 'bytes' });
    expect(parseRate('1.5GB/s')).toEqual({ perSecond: 1_500_000_000, unit: 'bytes' });
    expect(parseRate('500kB/s')).toEqual({ perSecond: 500_000, unit: 'bytes' });
    expect(parseRate('5000rows')).toEqual({ perSecond: 5000, unit: 'rows' });
  });

  // Megabits are not megabytes, so the case is not guessed.
  it.each(['', '20', '20mb', '20Mb/s', '0MB', '-5rows', '1e3rows', 'NaNrows', 'fast', '20MB/min', ' 20MB', '20MB\n'])(
    'is not %j',
    (text) => {
      expect(() => parseRate(text)).toThrow(
        expect.objectContaining({ code: 'CHG_PLAN_RATE', message: expect.stringContaining(text) as string }),
      );
    },
  );
});
