import { sync } from '../../packages/changeover/src/data/move.ts';
import type { DataDefinition } from '../../packages/changeover/src/plan/sync.ts';
import { TABLES } from './content.ts';
import { engineNamed } from './engines.ts';
import type { SoakSettings } from './settings.ts';

/** Small chunks, so that a copy has many of them to be killed in. */
const CHUNK_ROWS = 20;

/** The plan of every round: all tables as they are. */
export function definitionsOf({ legacy, next }: SoakSettings): DataDefinition[] {
  return [
    sync({
      name: 'soak',
      from: engineNamed(legacy.engine).store(legacy.address),
      to: engineNamed(next.engine).store(next.address),
      tables: Object.fromEntries(TABLES.map((table) => [table, {}])),
      chunkRows: CHUNK_ROWS,
    }),
  ];
}
