import { mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { Context } from '../plan/context.ts';
import { testContext } from '../testing/context.ts';
import { isKilled } from '../testing/killed.ts';
import { tempFolder } from '../testing/temp.ts';
import type { TempFolder } from '../testing/temp.ts';
import * as config from './index.ts';

let temp: TempFolder;
let ctx: Context;

beforeEach(async () => {
  temp = await tempFolder();
  ctx = testContext(temp.path);
  await mkdir(ctx.root);
  await writeFile(join(ctx.root, '.env'), 'PORT=81\nAPI_TOKEN=s3cret-token\n');
  await writeFile(join(ctx.root, 'app.yaml'), '# mine\nport: 80\n', { mode: 0o640 });
});
afterEach(() => temp.remove());

/** Its source text also runs in the child, so it may use nothing but its argument. */
const define = ({ dotenv, settings, yamlFile }: typeof config): config.Settings =>
  settings({
    from: [dotenv('.env')],
    to: yamlFile('app.yaml'),
    secrets: dotenv('new/.env.next'),
    map: { PORT: { to: 'port', type: 'number' }, API_TOKEN: { env: 'API_TOKEN', secret: true } },
  });

/** Runs one call in a process of its own that SIGKILLs itself when `point` is reached the `nth` time. */
function killed(call: string, point: string, nth = 1): boolean {
  const script = `
    import * as config from ${JSON.stringify(new URL('./index.ts', import.meta.url).href)};
    import { killAt, testContext } from ${JSON.stringify(new URL('../testing/context.ts', import.meta.url).href)};
    const ctx = testContext(${JSON.stringify(temp.path)}, { faults: killAt(${JSON.stringify(point)}, ${nth}) });
    const port = (${define.toString()})(config);
    await port.${call};`;
  return isKilled(script);
}

async function files(): Promise<Record<string, string>> {
  const names = (await readdir(ctx.root, { recursive: true, withFileTypes: true })).filter((each) => each.isFile());
  return Object.fromEntries(
    await Promise.all(
      names.map(async ({ parentPath, name }): Promise<[string, string]> => {
        const path = join(parentPath, name);
        return [
          path.slice(ctx.root.length + 1),
          `${((await stat(path)).mode & 0o777).toString(8)} ${await readFile(path, 'utf8')}`,
        ];
      }),
    ),
  );
}

const LEGACY = '644 PORT=81\nAPI_TOKEN=s3cret-token\n';
const BEFORE = { '.env': LEGACY, 'app.yaml': '640 # mine\nport: 80\n' };
const AFTER = { '.env': LEGACY, 'app.yaml': '640 # mine\nport: 81\n', 'new/.env.next': '600 API_TOKEN=s3cret-token\n' };

for (const [point, nth] of [
  ['config.file.written', 1],
  ['config.file.written', 2],
  ['config.file.renamed', 1],
  ['config.file.renamed', 2],
] as const) {
  test(`an apply killed at ${point} (${nth}) leaves whole files, and can be finished or undone`, async () => {
    const port = define(config);
    expect(killed('before(ctx)', 'config.before.saved')).toBe(true);
    const before = await port.before(ctx);
    for (const ending of ['finish', 'undo'] as const) {
      expect(killed('apply(ctx)', point, nth)).toBe(true);
      for (const [name, content] of Object.entries(await files())) {
        if (name.includes('.changeover-new')) expect(content).toMatch(/^6[04]0 /);
        else expect([BEFORE[name as keyof typeof BEFORE], AFTER[name as keyof typeof AFTER]]).toContain(content);
      }
      if (ending === 'finish') {
        await port.apply(ctx);
        expect(await port.isApplied(ctx)).toBe(true);
        expect(await files()).toEqual(AFTER);
        const undo = `undo(ctx, ${JSON.stringify(before)})`;
        expect(killed(undo, 'config.file.written')).toBe(true);
        expect(killed(undo, 'config.undo.restored')).toBe(true);
      }
      await port.undo(ctx, before);
      expect(await files()).toEqual(BEFORE);
      expect(await readdir(ctx.root)).toEqual(['.env', 'app.yaml']);
    }
  });
}
