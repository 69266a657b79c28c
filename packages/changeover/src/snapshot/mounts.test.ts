import { execFileSync } from 'node:child_process';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { Context } from '../plan/context.ts';
import { testContext } from '../testing/context.ts';
import { tempFolder } from '../testing/temp.ts';
import type { TempFolder } from '../testing/temp.ts';

let temp: TempFolder;
let ctx: Context;

beforeEach(async () => {
  temp = await tempFolder();
  ctx = testContext(temp.path);
  await mkdir(ctx.root);
});
afterEach(() => temp.remove());

const canMount = (() => {
  try {
    execFileSync('unshare', ['-m', 'mount', '-t', 'tmpfs', 'tmpfs', '/mnt'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
})();

test.skipIf(!canMount)(
  'a mount point is exchanged from within, and one inside a folder is refused (needs the right to mount)',
  async () => {
    await mkdir(join(ctx.root, 'data'));
    const data = join(ctx.root, 'data');
    const inner = join(data, 'inner');
    const script = `
    import { createSnapshot } from ${JSON.stringify(new URL('./index.ts', import.meta.url).href)};
    import { execFileSync } from 'node:child_process';
    import { mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
    import { testContext } from ${JSON.stringify(new URL('../testing/context.ts', import.meta.url).href)};
    const ctx = testContext(${JSON.stringify(temp.path)});
    const data = ${JSON.stringify(data)}, inner = ${JSON.stringify(inner)};
    execFileSync('mount', ['-t', 'tmpfs', 'tmpfs', data]);
    writeFileSync(data + '/a', 'a'); mkdirSync(data + '/b'); writeFileSync(data + '/b/c', 'c');
    const snapshot = createSnapshot({ paths: ['data'], sqlite: [], compress: 'none' });
    await snapshot.take(ctx, 's');
    const device = statSync(data).dev;
    rmSync(data + '/b', { recursive: true }); writeFileSync(data + '/a', 'changed'); writeFileSync(data + '/d', 'added');
    await snapshot.restore(ctx, 's');
    const same = await snapshot.compare(ctx, 's');
    mkdirSync(inner); execFileSync('mount', ['-t', 'tmpfs', 'tmpfs', inner]);
    writeFileSync(inner + '/live', 'live');
    const refused = await snapshot.restore(ctx, 's').then(() => 'restored', (error) => error.code);
    console.log(JSON.stringify({ same, kept: statSync(data).dev === device, c: readFileSync(data + '/b/c', 'utf8'), refused,
      live: readFileSync(inner + '/live', 'utf8'), found: (await snapshot.check(ctx)).filter(({ level }) => level === 'error').length }));`;
    const output = execFileSync(
      'unshare',
      ['-m', process.execPath, '--conditions=@changeover/source', '--input-type=module-typescript', '-e', script],
      { encoding: 'utf8' },
    );
    expect(JSON.parse(output)).toEqual({
      same: { changed: [], added: [], missing: [] },
      kept: true,
      c: 'c',
      refused: 'CHG_SNAPSHOT_MOUNT_INSIDE',
      live: 'live',
      found: 1,
    });
  },
);
