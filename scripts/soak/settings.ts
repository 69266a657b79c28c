import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { Direction, Side } from '../../packages/changeover/src/plan/words.ts';

/** What every process of one round is told. */
export interface SoakSettings {
  /** Where ledgers, the state of the move and the marks below are. */
  readonly folder: string;
  readonly legacy: { readonly engine: string; readonly address: string };
  readonly next: { readonly engine: string; readonly address: string };
}

/** The side that serves: what a gateway would send writers to. */
export function readSide(folder: string): Side {
  return readFileSync(path.join(folder, 'side'), 'utf8') as Side;
}

export function writeSide(folder: string, side: Side): void {
  writeFileSync(path.join(folder, 'side.draft'), side);
  renameSync(path.join(folder, 'side.draft'), path.join(folder, 'side'));
}

/** Marks are empty files: from then on the new side is fenced, the switch is wanted, the switch is decided. */
export const PREPARED = 'prepared';
export const wantedMark = (direction: Direction) => `wanted-${direction}`;
export const decidedMark = (direction: Direction) => `decided-${direction}`;
