import { execFileSync } from 'node:child_process';
import { expect, test } from 'vitest';
import { systemClock } from './clock.ts';

test('monotonic time and boot are the same in every process of a boot', () => {
  const clock = systemClock();
  const before = clock.monotonicMs();
  const module = JSON.stringify(new URL('clock.ts', import.meta.url).href);
  const code = `const { systemClock } = await import(${module}); const c = systemClock(); console.log(c.monotonicMs(), c.bootId())`;
  const [elsewhere = '', boot] = execFileSync(process.execPath, ['--input-type=module', '-e', code], {
    encoding: 'utf8',
    env: { ...process.env, NODE_OPTIONS: '' },
  })
    .trim()
    .split(' ');
  expect(Number(elsewhere)).toBeGreaterThan(before);
  expect(Number(elsewhere)).toBeLessThan(clock.monotonicMs());
  expect(boot).toBe(clock.bootId());
  expect(boot).not.toBe('');
});

test('a sleep ends at once when it is cancelled', async () => {
  const startedMs = performance.now();
  await expect(systemClock().sleep(10_000, AbortSignal.timeout(20))).rejects.toMatchObject({ name: 'AbortError' });
  expect(performance.now() - startedMs).toBeLessThan(5000);
});
