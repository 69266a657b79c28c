import path from 'node:path';
import type { Context } from '../../../plan/context.ts';
import type { Store } from '../../../plan/stores.ts';
import type { LineFormat } from './line.ts';
import { OpenLog } from './open-log.ts';

export interface LogOptions {
  /**
   * What a line must be to count as a row: `python` a literal as `repr` writes it, `json` a JSON text, `text` anything in UTF-8. Lines
   * that do not parse are reported by `check` with their number; none is evaluated.
   */
  readonly format: LineFormat;
}

export interface LogStore extends Store {
  open(ctx: Context): Promise<OpenLog>;
}

/**
 * A log file as a store: one table `lines` with the columns `id`, `offset`, `number` (from 1) and `text`. A line is known by where it
 * starts (`@0`, `@117`), or by the id of the row that it was appended for. Only complete lines count. Relative paths resolve
 * against the plan's folder.
 *
 * @example
 * sync({ from: log('data/logs/events.log', { format: 'python' }), to: sqlite('data/pipeline.db'), tables: { events: { from: 'lines', … } } })
 */
export function log(file: string, options: LogOptions): LogStore {
  const { format } = options;
  const at = ({ root }: Pick<Context, 'root'>) => path.resolve(root, file);
  return {
    kind: 'log',
    writes: 'rows',
    fencedBy: 'unit',
    spec: { kind: 'log', file, format },
    identity: (ctx) => `log:${at(ctx)}`,
    open: (ctx) => Promise.resolve(new OpenLog(at(ctx), format, file, ctx)),
  };
}
