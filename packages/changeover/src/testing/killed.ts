import { spawnSync } from 'node:child_process';

/** Runs a script (TypeScript) in a process of its own: true when it was ended by SIGKILL, false when it came to its end. Throws when it failed. */
export function isKilled(script: string): boolean {
  const { signal, status, stderr } = spawnSync(
    process.execPath,
    ['--conditions=@changeover/source', '--input-type=module-typescript', '-e', script],
    { encoding: 'utf8' },
  );
  if (signal !== 'SIGKILL' && status !== 0) throw new Error(stderr);
  return signal === 'SIGKILL';
}
