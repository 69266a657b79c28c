import { existsSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { expect, it } from 'vitest';
import { startChild } from './child.ts';
import { tempFolder } from './temp.ts';

it('a folder goes with everything in it, and may go twice', async () => {
  const temp = await tempFolder();
  writeFileSync(path.join(temp.path, 'a'), 'a');
  await temp.remove();
  expect(existsSync(temp.path)).toBe(false);
  await temp.remove();
});

it('a folder that was forgotten goes when its process exits', async () => {
  await using temp = await tempFolder();
  const file = path.join(temp.path, 'forgets.ts');
  const source = JSON.stringify(path.join(import.meta.dirname, 'temp.ts'));
  writeFileSync(file, `import { tempFolder } from ${source}; console.log('at', (await tempFolder()).path);`);
  await using child = startChild(file);
  const [, folder = ''] = (await child.line(/^at /)).split(' ');
  await child.exited;
  expect(folder).toContain('changeover-test-');
  expect(existsSync(folder)).toBe(false);
});
