import { readFileSync } from 'node:fs';

/**
 * Who may import what inside packages/changeover/src, in the order of the data path: a name may import itself and what stands
 * behind it, nothing else. A file that is under none of the names may import nothing.
 */
const parts = ['engine', 'snapshot', 'config', 'data', 'traffic', 'compat', 'verify'];
const order = {
  'errors.ts': [],
  plan: ['errors.ts'],
  ...Object.fromEntries(parts.map((part) => [part, ['errors.ts', 'plan']])),
  testing: ['errors.ts', 'plan'],
  'changeover.ts': ['errors.ts', 'plan', ...parts],
  cli: ['changeover.ts'],
  console: ['changeover.ts'],
};

const src = '^packages/changeover/src/';

/** The same inside packages/runtime/src: each may import itself and what stands before it. */
const layers = [
  'errors.ts',
  'config',
  'observe',
  'health',
  'security',
  'pipeline',
  'nats',
  'services',
  'orchestrator',
  'http',
  'runtime.ts',
];
const runtime = '^packages/runtime/src/';
// A test lies beside its file: changeover.test.ts follows the rule of changeover.ts.
const area = (name) => (name.endsWith('.ts') ? `${src}${name.replace('.ts', '[.]')}` : `${src}${name}/`);
// A child is a program that a test starts.
const isTest = '[.](test|test-d|child)[.]ts$';

const ordered = Object.entries(order).map(([name, may]) => ({
  name: `order-${name}`,
  comment: `${name} may import: ${may.join(', ') || 'nothing'}`,
  from: { path: area(name) },
  to: { path: src, pathNot: [name, ...may, 'testing'].map(area) },
}));

const layered = layers.map((name, index) => ({
  name: `runtime-order-${name}`,
  comment: `${name} may import: ${layers.slice(0, index).join(', ') || 'nothing'}`,
  from: { path: `${runtime}${name}` },
  to: { path: runtime, pathNot: layers.slice(0, index + 1).map((own) => `${runtime}${own}`) },
}));

/** What other workspaces may import of the packages: the files that their package.json exports. */
const entries = ['changeover', 'runtime'].flatMap((name) => {
  const { exports } = JSON.parse(readFileSync(new URL(`packages/${name}/package.json`, import.meta.url), 'utf8'));
  return Object.values(exports)
    .map((target) => target['@changeover/source'])
    .filter((file) => file !== undefined)
    .map((file) => `^packages/${name}/${file.slice('./'.length)}$`);
});

const rules = [
  ...ordered,
  ...layered,
  {
    name: 'only-tests-import-testing',
    from: { path: src, pathNot: [area('testing'), isTest] },
    to: { path: area('testing') },
  },
  {
    name: 'folder-without-a-place-in-the-order',
    from: { path: src, pathNot: Object.keys(order).map(area) },
    to: {},
  },
  { name: 'packages-never-import-apps', from: { path: '^packages/' }, to: { path: '^apps/' } },
  {
    name: 'packages-never-import-packages',
    from: { path: '^packages/([^/]+)/', pathNot: isTest },
    to: { path: '^packages/', pathNot: '^packages/$1/' },
  },
  {
    name: 'tests-of-packages-import-testing',
    from: { path: `^packages/([^/]+)/.*${isTest}` },
    to: { path: '^packages/', pathNot: ['^packages/$1/', `${src}testing/index[.]ts$`] },
  },
  {
    name: 'apps-never-import-apps',
    from: { path: '^apps/([^/]+)/' },
    to: { path: '^apps/', pathNot: '^apps/$1/' },
  },
  {
    name: 'apps-import-what-packages-export',
    from: { path: '^apps/' },
    to: { path: '^packages/', pathNot: entries },
  },
  // Types are gone when a program runs: a cycle needs an import of values all the way round.
  { name: 'no-cycles', from: {}, to: { circular: true, viaOnly: { dependencyTypesNot: ['type-only'] } } },
  { name: 'not-resolvable', from: {}, to: { couldNotResolve: true } },
];

/** @type {import('dependency-cruiser').IConfiguration} */
export default {
  forbidden: rules.map((rule) => ({ severity: 'error', ...rule })),
  options: {
    doNotFollow: { path: ['node_modules', '/dist/'] },
    exclude: { path: ['/dist/'] },
    // Also sees `import type`, `export type` and import() types, which are gone after compilation.
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['@changeover/source', 'import', 'node', 'default', 'types'],
    },
  },
};
