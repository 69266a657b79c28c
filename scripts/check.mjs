/**
 * Everything but the tests: types, lint, format, import order, dead code, build, and the packages as they would be published.
 * All parts run to their end and all problems are shown. `npm run check -- types lint` runs only the named parts.
 */
import { execFile } from 'node:child_process';
import path from 'node:path';
import { writeExamples } from './examples.mjs';
import { checkPackages } from './packages.mjs';
import { checkPlanted } from './planted.mjs';

const root = path.resolve(import.meta.dirname, '..');

/** A command of node_modules/.bin: its output is a problem when it ends with anything but 0. */
function command(name, ...args) {
  return new Promise((resolve) => {
    execFile(
      path.join(root, 'node_modules/.bin', name),
      args,
      { cwd: root, env: { ...process.env, NO_COLOR: '1' }, maxBuffer: 64 << 20 },
      (error, stdout, stderr) => resolve(error === null ? [] : [`${stdout}${stderr}`.trim() || error.message]),
    );
  });
}

const parts = {
  types: () => command('tsc', '-p', '.', '--pretty', 'false'),
  lint: () => command('eslint', '.', '--max-warnings', '0'),
  format: () => command('prettier', '--check', '--log-level', 'warn', '.'),
  imports: async () => [
    ...(await command('depcruise', 'packages', 'apps', 'bench', 'scripts', '--output-type', 'err-long')),
    ...(await checkPlanted(root)),
  ],
  'dead code': () => command('knip', '--no-progress'),
  examples: async () => command('tsc', '-p', await writeExamples(root), '--pretty', 'false'),
  packages: async () => {
    const problems = await command('tsc', '-b', 'tsconfig.build.json');
    return problems.length > 0 ? problems : checkPackages(root);
  },
};

const wanted = process.argv.slice(2);
const unknown = wanted.filter((name) => !(name in parts));
if (unknown.length > 0) {
  console.error(`unknown part: ${unknown.join(', ')} (there are: ${Object.keys(parts).join(', ')})`);
  process.exit(2);
}

const queue = Object.entries(parts).filter(([name]) => wanted.length === 0 || wanted.includes(name));
const failed = [];

async function lane() {
  for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
    const [name, run] = next;
    const start = performance.now();
    const problems = await run().catch((error) => [error.stack]);
    const seconds = ((performance.now() - start) / 1000).toFixed(1);
    if (problems.length > 0) failed.push(name);
    for (const problem of problems) console.log(`${problem}\n`);
    console.log(`${problems.length === 0 ? 'ok    ' : 'FAILED'} ${name.padEnd(10)} ${seconds} s`);
  }
}

await Promise.all([lane(), lane()]);
console.log(failed.length === 0 ? 'check: all good' : `check: failed: ${failed.join(', ')}`);
process.exitCode = failed.length === 0 ? 0 : 1;
