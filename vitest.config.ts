import path from 'node:path';
import { defineConfig } from 'vitest/config';
import { BaseSequencer, type TestSpecification } from 'vitest/node';

// Most tests start Node many times, and half of such a start is compiling.
process.env['NODE_COMPILE_CACHE'] ??= path.resolve('node_modules/.cache/node');

/** The files with the longest single tests, which otherwise run at the end beside nothing. */
const LONG = /crash|demo|soak|trouble|recognition-sets/;

class LongFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const isLong = ({ moduleId }: TestSpecification) => LONG.test(moduleId);
    return [...(await super.sort(files.filter(isLong))), ...(await super.sort(files.filter((file) => !isLong(file))))];
  }
}

export default defineConfig({
  test: {
    // Many tests start processes and databases of their own, so that two files at a time fill two cores.
    maxWorkers: 2,
    sequence: { sequencer: LongFirst },
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
            tsconfig: './tsconfig.types.json',
            include: ['packages/*/src/**/*.test-d.ts'],
          },
        },
      },
    ],
  },
});
