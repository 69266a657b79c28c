import { parseDuration, type Duration } from '../plan/duration.ts';
import type { ExpandDefinition, TableExpansion } from '../plan/expand.ts';
import { specOf } from '../plan/spec.ts';
import type { Store } from '../plan/stores.ts';
import type {
  Constant,
  Expression,
  FilesDefinition,
  SchemaOptions,
  SliceOptions,
  SyncDefinition,
  TableMapping,
} from '../plan/sync.ts';

const DEFAULT_CHUNK_ROWS = 1000;

/**
 * Rows of one store, moved to another store online and in both directions.
 *
 * @param options.tables Name → how a table of the target comes out of the source; `{}` moves the table of that name with all its columns.
 * @param options.chunkRows Rows in a chunk of the copy. Default 1000.
 * @param options.schema `'create'` makes the target's tables from the source's schema; an object also names column types, and what is not made.
 *   Default: the tables are there, or `next.setup` makes them.
 * @param options.slices Moves the rows tenant by tenant: `changeover run --slice acme`. Default: all at once.
 * @example
 * sync({
 *   name: 'events',
 *   from: sqlite('data/legacy.db'),
 *   to: sqlite('data/pipeline.db'),
 *   tables: { events: { columns: { id: 'id', happened_at: 'ts' }, givesUp: ['note'] } },
 * })
 */
export function sync(options: {
  readonly name: string;
  readonly from: Store;
  readonly to: Store;
  readonly tables: Readonly<Record<string, TableMapping>>;
  readonly chunkRows?: number;
  readonly schema?: 'create' | SchemaOptions;
  readonly slices?: SliceOptions;
}): SyncDefinition {
  const { name, from, to, tables, chunkRows = DEFAULT_CHUNK_ROWS, slices = null } = options;
  const schema = options.schema === 'create' ? {} : (options.schema ?? null);
  // Plans without it keep the hash that they have.
  const spec = specOf({ kind: 'sync', name, from, to, tables, schema: schema ?? undefined, slices: options.slices });
  return { kind: 'sync', name, from, to, tables, chunkRows, schema, slices, spec };
}

/**
 * The same value in every row of the target: where a row is from, or what the legacy never had to say. A rollback returns nothing for it; rows
 * that have another value on the new side are counted as not returnable, unless another table takes them.
 *
 * @example
 * sync({ name: 'events', from, to, tables: {
 *   events_2025: { to: 'events', columns: { id: 'id', at: 'at', source: constant('2025') } },
 *   events_2026: { to: 'events', columns: { id: 'id', at: 'at', source: constant('2026') } },
 * } })
 */
export function constant(value: Constant['constant']): Constant {
  return { constant: value };
}

/**
 * A value that the source computes in its SELECT, and the way back in the SQL of the target, or what is given up. `check` tries both on rows.
 *
 * @param sql SQL of the source over the columns of one row. Nothing in it may depend on the time, on chance or on other rows.
 * @param options.back Source column → SQL of the target that computes it again.
 * @param options.givesUp What a rollback cannot return, in words, where there is no `back`.
 * @example
 * expression("first || ' ' || last", {
 *   back: { first: "split_part(name, ' ', 1)", last: "substr(name, strpos(name, ' ') + 1)" },
 * })
 */
export function expression(
  sql: string,
  options:
    | { readonly back: Readonly<Record<string, string>>; readonly givesUp?: string }
    | { readonly back?: never; readonly givesUp: string },
): Expression {
  return { expression: sql, ...options };
}

/**
 * A folder of files, moved to another folder online and in both directions.
 *
 * @param options.only Globs against the path relative to the folder; default all files.
 * @example
 * files({ name: 'faces', from: 'data/known_faces', to: 'data/faces', only: ['*.jpg'] })
 */
export function files(options: {
  readonly name: string;
  readonly from: string;
  readonly to: string;
  readonly only?: readonly string[];
}): FilesDefinition {
  const { name, from, to, only = null } = options;
  return { kind: 'files', name, from, to, only, spec: specOf({ kind: 'files', name, from, to, only }) };
}

/**
 * Columns added beside the old ones in the tables of one Postgres database, kept in step with them in both directions while old and new
 * applications write. `finish` drops the old ones, a rollback the new ones.
 *
 * @param options.tables Table → what is added to it, and what goes at the end.
 * @param options.chunkRows Most rows in one batch of the backfill. Default 1000.
 * @param options.pause Rest after each batch of the backfill. Default 0.
 * @example
 * expand({
 *   name: 'users',
 *   in: postgres('postgres://app@127.0.0.1/app'),
 *   tables: {
 *     users: {
 *       add: {
 *         full_name: {
 *           type: 'text',
 *           up: "first || ' ' || last",
 *           down: { first: "split_part(full_name, ' ', 1)", last: "split_part(full_name, ' ', 2)" },
 *           notNull: true,
 *         },
 *       },
 *       drop: ['first', 'last'],
 *       indexes: { users_by_full_name: { on: '(full_name)' } },
 *     },
 *   },
 * })
 */
export function expand(options: {
  readonly name: string;
  readonly in: Store;
  readonly tables: Readonly<Record<string, TableExpansion>>;
  readonly chunkRows?: number;
  readonly pause?: Duration;
}): ExpandDefinition {
  const { name, in: store, tables, chunkRows = DEFAULT_CHUNK_ROWS, pause = 0 } = options;
  const spec = specOf({ kind: 'expand', name, in: store, tables });
  return { kind: 'expand', name, in: store, tables, chunkRows, pauseMs: parseDuration(pause), spec };
}
