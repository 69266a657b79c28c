import { lstat, mkdir, rm, symlink, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test, vi } from 'vitest';
import { z } from 'zod';
import { at, ctx, put, said } from '../testing/settings.ts';
import { dotenv, environment, iniFile, jsonFile, settings, tomlFile, yamlFile } from './index.ts';

test('files that are too large, of another encoding or not readable as settings are refused and never overwritten', async () => {
  await put('big.env', '');
  await truncate(join(ctx.root, 'big.env'), 10 * 2 ** 20);
  await put('utf16.env', Buffer.from('\ufeffA=1\n', 'utf16le'));
  await put('bom.env', '\ufeffA=1\r\nB=2\r\n');
  await put('n.json', '{ not json');
  await mkdir(join(ctx.root, 'folder.env'));
  const port = settings({
    from: ['big.env', 'utf16.env', 'bom.env', 'folder.env'].map((file) => dotenv(file)),
    to: jsonFile('n.json'),
    map: { A: 'a', B: 'b' },
  });
  const findings = await port.check(ctx);
  const errors = said(findings).join('\n');
  expect(errors).toMatch(/big.env: it has 10485760 bytes; a settings file has at most 1048576/);
  expect(errors).toMatch(/utf16.env:1: it is UTF-16/);
  expect(errors).toMatch(/folder.env: it cannot be read \(EISDIR\)/);
  expect(errors).toMatch(/n.json:1: a name in double quotes is expected/);
  expect(said(findings, 'info').join()).toMatch(/bom.env:1: it begins with a byte order mark/);
  expect((await port.report(ctx)).legacy.map(({ key, source }) => `${source} ${key}`)).toEqual([
    'bom.env:1 A',
    'bom.env:2 B',
  ]);
  await expect(port.apply(ctx)).rejects.toMatchObject({ code: 'CHG_CONFIG_INVALID' });
  expect(await at('n.json')).toBe('{ not json');
});

test('a new file that is a symlink stays one, and keeps its byte order mark', async () => {
  await put('.env', 'A=2\n');
  await put('real/app.ini', '\ufeff[s]\nA = 1\n');
  await symlink('real/app.ini', join(ctx.root, 'app.ini'));
  const port = settings({ from: [dotenv('.env')], to: iniFile('app.ini'), map: { A: 's.A' } });
  await port.apply(ctx);
  expect((await lstat(join(ctx.root, 'app.ini'))).isSymbolicLink()).toBe(true);
  expect(await at('real/app.ini')).toBe('\ufeff[s]\nA = 2\n');
});

test('the source hash sees every byte of every source, absence, and the environment', async () => {
  await put('.env', 'A=1\n');
  vi.stubEnv('CHG_TEST_B', '1');
  const port = settings({
    from: [dotenv('.env'), dotenv('.env.more', { optional: true }), environment(['CHG_TEST_B'])],
    to: jsonFile('n.json'),
    map: { A: 'a', CHG_TEST_B: 'b' },
  });
  const hashes = [await port.sourceHash(ctx)];
  expect(await port.sourceHash(ctx)).toBe(hashes[0]);
  await put('.env', 'A=1 \n');
  hashes.push(await port.sourceHash(ctx));
  await put('.env.more', '');
  hashes.push(await port.sourceHash(ctx));
  vi.stubEnv('CHG_TEST_B', '2');
  hashes.push(await port.sourceHash(ctx));
  await rm(join(ctx.root, '.env'));
  hashes.push(await port.sourceHash(ctx));
  expect(new Set(hashes).size).toBe(5);
});

test('later sources override earlier ones, and every overridden value is in the report', async () => {
  await put('base.yaml', 'server: { port: 80, host: a }\n');
  await put('over.toml', '[server]\nport = 81\n');
  await put('more.ini', '[server]\nport = 82\n');
  await put('last.json', '{ "server": { "port": 83 } }');
  vi.stubEnv('server.port', '84');
  const from = [
    yamlFile('base.yaml'),
    tomlFile('over.toml'),
    iniFile('more.ini'),
    jsonFile('last.json'),
    environment(['server.port', 'UNSET']),
  ];
  const port = settings({
    from,
    to: jsonFile('n.json'),
    schema: z.object({ net: z.object({ port: z.number(), host: z.string() }) }),
    map: { server: 'net' },
  });
  expect(said(await port.check(ctx))).toEqual([]);
  const exact = settings({
    from,
    to: jsonFile('n.json'),
    schema: z.object({ net: z.object({ port: z.number(), host: z.string() }) }),
    map: { server: 'net', 'server.port': 'net.port' },
  });
  expect(said(await exact.check(ctx))).toEqual([]);
  const { legacy } = await exact.report(ctx);
  expect(
    legacy
      .filter(({ key }) => key === 'server.port')
      .map(({ source, fate, detail, shown }) => `${source} ${fate} ${detail} ${shown}`),
  ).toEqual([
    'base.yaml:1 dropped overridden by environment 80',
    'over.toml:2 dropped overridden by environment 81',
    'more.ini:2 dropped overridden by environment "82"',
    'last.json:1 dropped overridden by environment 83',
    'environment moved net.port "84"',
  ]);
  await exact.apply(ctx);
  expect(JSON.parse(await at('n.json'))).toEqual({ net: { port: 84, host: 'a' } });
});
