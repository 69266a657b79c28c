import { Faces } from '../../shared/faces.ts';

/** What one picture leaves behind is cleared before it piles up: a small machine has other uses for the memory. */
const YOUNG_MEMORY_MB = 8;

/** The faces of this architecture: those that the legacy sees, for less time and memory. @param threads Pictures at a time. Default 1. */
export function openFaces(threads = 1): Faces {
  return new Faces({ file: new URL('./faces-thread.ts', import.meta.url), maxYoungMemoryMb: YOUNG_MEMORY_MB, threads });
}
