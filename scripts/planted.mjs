/**
 * Proves that the import order is really checked: a small tree with one planted violation a file, and files that are allowed,
 * goes through the same rules as the project. Each plant must be reported under its rule, and nothing else may be.
 */
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';

const src = 'packages/changeover/src';

/** File, content, and the rule that must catch it; null where the import is allowed. */
const tree = [
  [`${src}/errors.ts`, `export const failure = 1;`, null],
  [`${src}/plan/plan.ts`, `export { failure } from '../errors.ts'; export interface Plan { name: string }`, null],
  [`${src}/plan/upwards.ts`, `import { run } from '../engine/run.ts'; export const up = run;`, 'order-plan'],
  [`${src}/engine/run.ts`, `import type { Plan } from '../plan/plan.ts'; export const run = (p: Plan) => p;`, null],
  [`${src}/engine/types.ts`, `import type { Row } from '../data/row.ts'; export type R = Row;`, 'order-engine'],
  [`${src}/engine/inline.ts`, `export type R = import('../data/row.ts').Row;`, 'order-engine'],
  [`${src}/data/row.ts`, `export interface Row { id: number } export const row = 1;`, null],
  [`${src}/data/late.ts`, `export const late = () => import('../engine/run.ts');`, 'order-data'],
  [`${src}/traffic/again.ts`, `export { row } from '../data/row.ts';`, 'order-traffic'],
  [`${src}/traffic/typed.ts`, `export type { Row } from '../data/row.ts';`, 'order-traffic'],
  [`${src}/verify/self.ts`, `import { all } from 'changeover'; export const self = all;`, 'order-verify'],
  [
    `${src}/snapshot/app.ts`,
    `import { door } from '@planted/door'; export const app = door;`,
    'packages-never-import-apps',
  ],
  [
    `${src}/snapshot/other.ts`,
    `import { o } from '@planted/other'; export const p = o;`,
    'packages-never-import-packages',
  ],
  [
    `${src}/config/help.ts`,
    `import { temp } from '../testing/index.ts'; export const t = temp;`,
    'only-tests-import-testing',
  ],
  [`${src}/config/help.test.ts`, `import { temp } from '../testing/index.ts'; export const t = temp;`, null],
  [`${src}/config/cross.test.ts`, `import { row } from '../data/row.ts'; export const r = row;`, 'order-config'],
  [`${src}/config/gone.ts`, `import { gone } from './nowhere.ts'; export const g = gone;`, 'not-resolvable'],
  // A cycle is reported once, at the file that is met first.
  [`${src}/config/one.ts`, `import { two } from './two.ts'; export const one = () => two;`, 'no-cycles'],
  [`${src}/config/two.ts`, `import { one } from './one.ts'; export const two = () => one;`, null],
  [`${src}/config/round.ts`, `import type { T } from './trip.ts'; export const round = (t: T) => t;`, null],
  [`${src}/config/trip.ts`, `import { round } from './round.ts'; export type T = typeof round;`, null],
  [`${src}/testing/index.ts`, `import type { Plan } from '../plan/plan.ts'; export const temp = (p: Plan) => p;`, null],
  [`${src}/changeover.ts`, `import { run } from './engine/run.ts'; export const all = run;`, null],
  [`${src}/cli/verb.ts`, `import { all } from '../changeover.ts'; export const verb = all;`, null],
  [`${src}/cli/deep.ts`, `import { run } from '../engine/run.ts'; export const deep = run;`, 'order-cli'],
  [
    `${src}/new/place.ts`,
    `import { run } from '../engine/run.ts'; export const n = run;`,
    'folder-without-a-place-in-the-order',
  ],
  ['packages/other/src/other.ts', `export const o = 1;`, null],
  [
    'packages/other/src/other.test.ts',
    `import { all } from 'changeover'; export const t = all;`,
    'tests-of-packages-import-testing',
  ],
  [
    'packages/other/src/help.test.ts',
    `import { temp } from '../../changeover/src/testing/index.ts'; export const t = temp;`,
    null,
  ],
  ['apps/door/src/door.ts', `import { all } from 'changeover'; export const door = all;`, null],
  [
    'apps/bell/src/bell.ts',
    `import { door } from '@planted/door'; export const bell = door;`,
    'apps-never-import-apps',
  ],
  [
    'apps/bell/src/deep.ts',
    `import { run } from '../../../packages/changeover/src/engine/run.ts'; export const deep = run;`,
    'apps-import-what-packages-export',
  ],
];

const manifests = {
  'packages/changeover': { name: 'changeover', exports: { '.': { '@changeover/source': './src/changeover.ts' } } },
  'packages/other': { name: '@planted/other', exports: './src/other.ts' },
  'apps/door': { name: '@planted/door', exports: './src/door.ts' },
  'apps/bell': { name: '@planted/bell', exports: './src/bell.ts' },
};

/** Runs the rules over the planted tree. Returns what is wrong with them, a line each; empty is good. */
export async function checkPlanted(root) {
  const folder = await mkdtemp(path.join(tmpdir(), 'changeover-planted-'));
  try {
    await plant(folder);
    const found = await cruise(root, folder);
    const expected = new Set(tree.filter(([, , rule]) => rule !== null).map(([file, , rule]) => `${rule}: ${file}`));
    return [
      ...[...expected].filter((line) => !found.has(line)).map((line) => `planted violation not seen: ${line}`),
      ...[...found].filter((line) => !expected.has(line)).map((line) => `allowed import refused: ${line}`),
    ];
  } finally {
    await rm(folder, { recursive: true });
  }
}

async function plant(folder) {
  const write = async (file, content) => {
    await mkdir(path.dirname(path.join(folder, file)), { recursive: true });
    await writeFile(path.join(folder, file), `${content}\n`);
  };
  for (const [file, content] of tree) await write(file, content);
  const compilerOptions = { module: 'nodenext', allowImportingTsExtensions: true, noEmit: true };
  await write('tsconfig.json', JSON.stringify({ compilerOptions }));
  await write('package.json', JSON.stringify({ private: true, type: 'module' }));
  for (const [place, manifest] of Object.entries(manifests)) {
    await write(`${place}/package.json`, JSON.stringify({ type: 'module', ...manifest }));
    const link = path.join(folder, 'node_modules', manifest.name);
    await mkdir(path.dirname(link), { recursive: true });
    await symlink(path.join(folder, place), link, 'junction');
  }
}

async function cruise(root, folder) {
  const config = path.join(root, '.dependency-cruiser.mjs');
  // The exit code is the number of violations, so a plain failure shows as output that is no JSON.
  const { stdout, stderr } = await promisify(execFile)(
    path.join(root, 'node_modules/.bin/depcruise'),
    ['--config', config, '--output-type', 'json', 'packages', 'apps'],
    { cwd: folder, maxBuffer: 64 << 20 },
  ).catch((error) => error);
  if (!stdout) throw new Error(`dependency-cruiser said nothing about the planted tree: ${stderr}`);
  return new Set(JSON.parse(stdout).summary.violations.map(({ rule, from }) => `${rule.name}: ${from}`));
}
