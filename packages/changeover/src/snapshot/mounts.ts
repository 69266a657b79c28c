import { readFile } from 'node:fs/promises';
import { isWithin } from './raw-path.ts';
import type { RawPath } from './raw-path.ts';

/**
 * Where file systems are mounted. The device number alone does not tell: a bind mount has its source's, and removing a moved-aside
 * folder would then delete what is mounted in it. Empty where the platform has no such list.
 */
export async function mountPoints(): Promise<ReadonlySet<string>> {
  if (process.platform !== 'linux') return new Set();
  const lines = (await readFile('/proc/self/mountinfo', 'latin1')).split('\n');
  const points = lines.flatMap((line) => line.split(' ')[4] ?? []);
  return new Set(
    points.map((point) =>
      point.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8))),
    ),
  );
}

export function mountsBelow(points: ReadonlySet<string>, folder: RawPath): string[] {
  return [...points].filter((point) => point !== folder && isWithin(point, folder));
}
