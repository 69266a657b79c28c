import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { z } from 'zod';
import { at, ctx, logged, put, said } from '../testing/settings.ts';
import { dotenv, iniFile, jsonFile, pythonModule, settings, tomlFile, yamlFile } from './index.ts';

test('a planted secret is in no report, finding, error, spec, undo record or log', async () => {
  const secret = 'pl4nted\\"s3cret';
  const multi = 'pl4nted-second\nline';
  await put(
    '.env',
    `API_TOKEN='${secret}'\nDB_URL=postgres://app:pl4nted-pass@db/x\nMULTI="${multi}"\nPASSWORD=pl4nted-unmapped\nTOKEN_OPEN="pl4nted-open\n`,
  );
  await put('settings.py', "SECRET_KEY = 'pl4nted-python' + f()\nAUTH = 'pl4nted-auth\n");
  await put('broken.json', '{"token": "pl4nted-json" "x"}');
  await put('broken.yaml', 'token: "pl4nted-yaml\nother: [pl4nted-yaml\n');
  await put('broken.toml', 'token = "pl4nted-toml\n');
  await put('broken.ini', 'pl4nted-ini\n');
  await put('.env.secret', 'OLD=pl4nted-existing\n', 0o644);
  const schema: z.ZodType = z.object({
    url: z.string().refine(() => false, { error: (issue) => `bad: ${String(issue.input)}` }),
    shown: z
      .string()
      .refine(() => false, { error: (issue) => `bad: ${String(issue.input)}` })
      .optional(),
    token: z.string().refine(() => false, { error: (issue) => `bad: ${String(issue.input)}` }),
  });
  const port = settings({
    from: [
      dotenv('.env'),
      pythonModule('settings.py'),
      jsonFile('broken.json'),
      yamlFile('broken.yaml'),
      tomlFile('broken.toml'),
      iniFile('broken.ini'),
    ],
    to: jsonFile('n.json'),
    secrets: dotenv('.env.secret'),
    schema: schema,
    map: {
      API_TOKEN: { to: 'token', env: 'API_TOKEN', secret: true },
      DB_URL: 'url',
      MULTI: {
        env: 'MULTI',
        secret: true,
        convert: (value) => {
          throw new Error(`cannot: ${JSON.stringify(value)}`);
        },
      },
      OTHER: { env: 'OTHER', secret: true, default: 'pl4nted-default' },
    },
    set: { fixed: { value: 'pl4nted-constant', reason: 'r', secret: true } },
    legacyDefaults: { MULTI: 'pl4nted-legacy' },
  });
  const seen: unknown[] = [port.spec, await port.check(ctx), await port.report(ctx), await port.before(ctx)];
  await port.apply(ctx).catch((error: unknown) => seen.push(inspect(error)));
  seen.push(await port.isApplied(ctx), logged);
  const text = JSON.stringify(seen, null, 1);
  expect(text).not.toMatch(/pl4nted/);
  expect(text).toContain('••••');
  expect(text.length).toBeGreaterThan(3000);
});

function inspect(error: unknown): unknown {
  if (!(error instanceof Error)) return error;
  return { fields: Object.entries(error), message: error.message, stack: error.stack, cause: inspect(error.cause) };
}

test('secrets are never written into the main file, and their file is closed to others', async () => {
  await put('.env', 'API_TOKEN=abcdef\nPORT=1\n');
  await put('.env.secret', 'API_TOKEN=abcdef\n', 0o644);
  const map = { API_TOKEN: { to: 'token', secret: true }, PORT: 'port' } as const;
  const port = settings({
    from: [dotenv('.env')],
    to: yamlFile('n.yaml'),
    secrets: dotenv('.env.secret'),
    map: { ...map, API_TOKEN: { ...map.API_TOKEN, env: 'API_TOKEN' } },
  });
  expect(said(await port.check(ctx), 'info')).toEqual([
    '.env.secret: others may read it (mode 644); it will have mode 600',
  ]);
  expect(await port.isApplied(ctx)).toBe(false);
  await port.apply(ctx);
  expect(await at('n.yaml')).toBe('port: "1"\n');
  expect((await stat(join(ctx.root, '.env.secret'))).mode & 0o777).toBe(0o600);
  const nested = settings({
    from: [dotenv('.env')],
    to: jsonFile('n.json'),
    secrets: yamlFile('secrets.yaml'),
    map: { API_TOKEN: { to: 'a.token', secret: true }, PORT: 'port' },
  });
  await nested.apply(ctx);
  expect(await at('secrets.yaml')).toBe('a:\n  token: abcdef\n');
  const loose = settings({ from: [dotenv('.env')], to: jsonFile('n.json'), map: { API_TOKEN: 'token', PORT: 'port' } });
  expect(said(await loose.check(ctx), 'warning')[0]).toMatch(/API_TOKEN is named like a secret/);
});
