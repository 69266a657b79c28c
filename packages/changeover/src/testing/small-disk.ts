import { execFileSync } from 'node:child_process';

/** Mounts a disk of its own of `mebibytes` at `folder`; null where this user may not. The caller unmounts. */
export function smallDisk(folder: string, mebibytes: number): { unmount(): void } | null {
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${mebibytes}m`, 'tmpfs', folder], { stdio: 'ignore' });
  } catch {
    return null;
  }
  return {
    unmount: () => {
      execFileSync('umount', ['-l', folder]);
    },
  };
}
