import path from 'node:path';
import type { SliceScope } from '../../../plan/stores.ts';
import type { Side } from '../../../plan/words.ts';
import { Belonging } from '../../slices/belonging.ts';
import { dataFolder } from '../../slices/scope.ts';
import { literal, quoted } from './text.ts';

/** What is ours in a file: all of it for a move of everything, and one slice's part for the move of a slice. */
export interface Own {
  /** What the names of our tables and triggers begin with. */
  readonly prefix: string;
  /** Null: every row is moved. */
  readonly slice: Belonging | null;
  /** True where a row must stay in its slice: on the side to which others of its slice do not follow it. */
  readonly keepsTogether: boolean;
  /** Where we remember what was applied, below the state folder. */
  readonly folder: (stateDir: string) => string;
}

export const WHOLE: Own = {
  prefix: 'changeover',
  slice: null,
  keepsTogether: false,
  folder: (stateDir) => path.join(stateDir, 'data'),
};

export function ownOf(scope: SliceScope, side: Side): Own {
  const words = { quoted, literal, table: quoted, exactly: ' COLLATE BINARY' };
  return {
    prefix: `changeover_slice_${scope.id}`,
    slice: new Belonging(scope, words),
    keepsTogether: side === 'next',
    folder: (stateDir) => dataFolder(stateDir, scope.id),
  };
}
