/** Compiles the examples of the documentation: every block of TypeScript that imports something is a program of its own. */
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';

const BLOCK = /^```ts\n(.*?)^```$/gms;

/** Writes the examples where they resolve packages as this repository does. Returns the folder, with a tsconfig.json in it. */
export async function writeExamples(root) {
  const folder = path.join(root, 'reports/examples');
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true });
  const docs = (await readdir(path.join(root, 'docs'))).map((name) => `docs/${name}`);
  for (const file of ['README.md', 'packages/changeover/README.md', ...docs.filter((name) => name.endsWith('.md'))]) {
    const text = await readFile(path.join(root, file), 'utf8');
    for (const { 1: code, index } of text.matchAll(BLOCK)) {
      if (!code.startsWith('import ')) continue;
      const line = text.slice(0, index).split('\n').length;
      await writeFile(path.join(folder, `${file.replaceAll(/[/.]/g, '-')}-line-${line}.ts`), code);
    }
  }
  const config = { extends: '../../tsconfig.json', include: ['.'] };
  await writeFile(path.join(folder, 'tsconfig.json'), JSON.stringify(config));
  return folder;
}
