import { expect, test } from 'vitest';
import { RateLimiter } from './rate-limiter.ts';

test('a kind that met a limit is quiet for the cooldown, other kinds are not', () => {
  let now = 0;
  const limits = { enabled: true, max_per_minute: 10, max_per_hour: 4, burst_allowance: 2, cooldown_period: 60 };
  const limiter = new RateLimiter(limits, () => now);
  const admit = (kind = 'a') => limiter.admit(kind);
  expect([admit(), admit(), admit()]).toEqual([true, true, false]);
  expect(admit('b')).toBe(true);
  now = 59_999;
  expect(admit()).toBe(false);
  now = 60_000;
  expect([admit(), admit()]).toEqual([true, true]);
  // The fifth of the hour.
  now = 180_000;
  expect(admit()).toBe(false);
  now = 3_700_000;
  expect(admit()).toBe(true);
});
