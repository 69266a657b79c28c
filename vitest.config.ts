import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    // Many tests start processes and databases of their own, so that two files at a time fill two cores.
    maxWorkers: 2,
    projects: [
      {
        // Only our own condition: vitest hands the list to Node as it is, and `import` in it breaks CommonJS packages.
        ssr: { resolve: { conditions: ['@changeover/source'] } },
        test: {
          name: 'unit',
          include: ['packages/*/src/**/*.test.ts', 'apps/**/*.test.ts', 'bench/**/*.test.ts', 'scripts/**/*.test.ts'],
          pool: 'forks',
          // What is waited for comes; on a busy machine it comes later.
          expect: { poll: { timeout: 10_000 } },
          testTimeout: 30_000,
          hookTimeout: 60_000,
        },
      },
      {
        test: {
          name: 'types',
          include: [],
          typecheck: {
            enabled: true,
            only: true,
            checker: 'tsc',
            tsconfig: './tsconfig.json',
            include: ['packages/*/src/**/*.test-d.ts'],
          },
        },
      },
    ],
  },
});
