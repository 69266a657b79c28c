/**
 * The program of the face thread, which also does what the end of a picture tells it: `FAULT <kind> <file>`. Where the file is there it is
 * removed and the fault happens once; without a file it happens every time.
 */
import { rmSync } from 'node:fs';
import analyse, { type Analysis, type FaceTask } from '../shared/faces-worker.ts';

export type Fault = 'crash' | 'hang' | 'leak';

/** A picture that every decoder reads as before. */
export function poisoned(jpeg: Uint8Array, fault: Fault, onceFile = ''): Uint8Array {
  return Buffer.concat([jpeg, Buffer.from(`FAULT ${fault} ${onceFile}`)]);
}

export default async function run(task: FaceTask): Promise<Analysis | Uint8Array | null> {
  if (task.kind === 'analyse') fail(Buffer.from(task.image).subarray(-300).toString('latin1'));
  return analyse(task);
}

function fail(end: string): void {
  const [, fault, file = ''] = /FAULT (crash|hang|leak) (.*)$/s.exec(end) ?? [];
  if (fault === undefined || (file !== '' && !removed(file))) return;
  if (fault === 'crash') process.exit(1);
  const kept: number[][] = [];
  while (kept.length >= 0) if (fault === 'leak') kept.push(new Array<number>(100_000).fill(kept.length));
}

function removed(file: string): boolean {
  try {
    rmSync(file);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw error;
  }
}
