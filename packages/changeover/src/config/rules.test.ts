import { expect, test } from 'vitest';
import { z } from 'zod';
import { Pipeline } from '../testing/settings.ts';
import { dotenv, jsonFile, settings } from './index.ts';
import type { Settings } from './index.ts';

test('a definition that contradicts itself is refused with everything that is wrong', () => {
  const define = (): Settings =>
    settings({
      from: [dotenv('.env'), jsonFile('n.json')],
      to: jsonFile('n.json'),
      map: {
        A: { to: 'a', secret: true },
        B: { drop: ' ' },
        C: 'a..b',
        D: { to: 'd', unit: { from: 's', to: 'MB' } },
        E: { to: 'e', spread: true },
        F: {},
        G: 'x.__proto__.y',
      },
      legacyDefaults: { NOT_MAPPED: 1 },
    });
  expect(define).toThrow(expect.objectContaining({ code: 'CHG_CONFIG_DEFINITION' }));
  let message = '';
  try {
    define();
  } catch (error) {
    message = String(error);
  }
  for (const part of [
    'map.A: it is secret; add secrets',
    'map.B: drop needs a reason',
    'map.C: "a..b" is no path',
    'map.D: s does not convert to MB',
    'map.E: spread needs several',
    'map.F: it goes nowhere',
    'map.G:',
    'legacyDefaults.NOT_MAPPED: map has no rule',
    'from: n.json is also written',
  ]) {
    expect(message).toContain(part);
  }
});

test('places that the schema does not have do not compile', () => {
  const from = [dotenv('.env')];
  const to = jsonFile('n.json');
  settings({
    from,
    to,
    schema: Pipeline,
    map: { A: 'frameCapture.fps', B: { to: ['notifications.known', 'telegram.botToken'] } },
  });
  // @ts-expect-error the schema has no such place
  settings({ from, to, schema: Pipeline, map: { A: 'frameCapture.fpz' } });
  // @ts-expect-error the schema has no such place
  settings({ from, to, schema: Pipeline, map: { A: { to: 'frameCapture.fpz' } } });
  // @ts-expect-error a rule cannot move and drop
  settings({ from, to, schema: Pipeline, map: { A: { to: 'frameCapture.fps', drop: 'x' } } });
  settings({ from, to, map: { A: 'any.path.at.all' } });
});

test('the plan sees changed rules, functions and schemas in the spec', () => {
  const make = (convert: (value: never) => number, schema: z.ZodType): string =>
    JSON.stringify(
      settings({ from: [dotenv('.env')], to: jsonFile('n.json'), schema, map: { A: { to: 'a', convert } } }).spec,
    );
  const base = make(() => 1, z.object({ a: z.number() }));
  expect(make(() => 1, z.object({ a: z.number() }))).toBe(base);
  expect(make(() => 2, z.object({ a: z.number() }))).not.toBe(base);
  expect(make(() => 1, z.object({ a: z.number().max(3) }))).not.toBe(base);
});
