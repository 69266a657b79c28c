import { execFileSync, spawnSync } from 'node:child_process';

/** A real CPython, for tests that let it judge what was written for it. */
export interface CPython {
  readonly path: string;
  /** Runs a script with `input` as its standard input and returns its standard output. Throws when it fails. */
  run(script: string, input?: Uint8Array | string): Buffer;
}

/**
 * Every CPython of this machine that imports numpy (numpy 1 and 2 may both be there); empty where there is none, with the reason in
 * {@link NO_NUMPY}. Looked for in PATH and at /usr/bin/python3, where `apt-get install python3-numpy` puts it.
 */
export function pythonsWithNumpy(): CPython[] {
  const found = new Map<string, CPython>();
  for (const path of ['python3', '/usr/bin/python3']) {
    const probe = spawnSync(path, ['-c', 'import numpy, sys; print(sys.executable)'], { encoding: 'utf8' });
    if (probe.status !== 0) continue;
    const executable = probe.stdout.trim();
    found.set(executable, { path: executable, run: runner(executable) });
  }
  return [...found.values()];
}

/** Names why a test that needs numpy was skipped. */
export const NO_NUMPY = 'no python3 with numpy on this machine: apt-get install python3-numpy';

function runner(path: string): CPython['run'] {
  return (script, input = '') =>
    execFileSync(path, ['-W', 'error', '-c', script], { input, maxBuffer: 512 * 1024 * 1024 });
}
