import type { SliceScope } from '../../../plan/stores.ts';
import type { Side } from '../../../plan/words.ts';
import { Belonging } from '../../slices/belonging.ts';
import type { PostgresShape } from './shape.ts';
import { literal, quoted } from './text.ts';

/** What is ours in a database: all of it for a move of everything, and one slice's part for the move of a slice. */
export interface Own {
  /** What the names of our tables, functions and triggers begin with. */
  readonly prefix: string;
  /** Null: every row is moved. */
  readonly scope: SliceScope | null;
  /** True where a row must stay in its slice: on the side to which others of its slice do not follow it. */
  readonly keepsTogether: boolean;
}

export const WHOLE: Own = { prefix: 'changeover', scope: null, keepsTogether: false };

export function ownOf(scope: SliceScope, side: Side): Own {
  return { prefix: `changeover_slice_${scope.id}`, scope, keepsTogether: side === 'next' };
}

/** Which rows are the slice's, and the shapes of all tables on which that depends. Null where every row is. */
export async function belongingOf(
  { scope }: Own,
  shapeOf: (table: string) => Promise<PostgresShape>,
): Promise<Belonging | null> {
  if (scope === null) return null;
  const qualified = new Map<string, string>();
  for (const [table, { hops }] of Object.entries(scope.tables))
    for (const name of [table, ...hops.map(({ parent }) => parent)])
      if (!qualified.has(name)) qualified.set(name, (await shapeOf(name)).qualified);
  return new Belonging(scope, { quoted, literal, table: (name) => qualified.get(name) ?? quoted(name) });
}
