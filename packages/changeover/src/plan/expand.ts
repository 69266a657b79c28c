import { z } from 'zod';
import type { Store } from './stores.ts';
import type { Json } from './words.ts';

/** A column that is added beside the old ones. Expressions are SQL of Postgres over the columns of the same row. */
export interface AddedColumn {
  /** Its type in Postgres's own words: `text`, `numeric(10,2)`. */
  readonly type: string;
  /** Its value, from the old columns. Without it the column has no counterpart: old rows get `default`. */
  readonly up?: string;
  /** Old column → its value from the new one. What keeps the old application current, and a rollback lossless. */
  readonly down?: Readonly<Record<string, string>>;
  /** NOT NULL when every row has a value. Default false. */
  readonly notNull?: boolean;
  /** Taken where `up` gives NULL; the column's own default from the start without `up`, from `finish` on with it. */
  readonly default?: string;
}

/** What becomes of one table. Everything is added beside what is there; `drop` waits for `finish`. */
export interface TableExpansion {
  readonly add?: Readonly<Record<string, AddedColumn>>;
  /** Old columns that `finish` drops. */
  readonly drop?: readonly string[];
  /** Name → index, built without keeping writers out: `{ on: '(full_name)' }`, `{ on: 'USING gin (tags)' }`. */
  readonly indexes?: Readonly<Record<string, { readonly on: string; readonly unique?: boolean }>>;
  /** Name → `CHECK (…)` or `FOREIGN KEY (…) REFERENCES …`, made NOT VALID and then validated. */
  readonly constraints?: Readonly<Record<string, string>>;
  /** Added columns whose values do not come back: they have `up` and no `down`. */
  readonly givesUp?: readonly string[];
}

/** Columns added to the tables of one Postgres database, kept in step with the old ones, which go when the move is finished. */
export interface ExpandDefinition {
  readonly kind: 'expand';
  readonly name: string;
  readonly in: Store;
  readonly tables: Readonly<Record<string, TableExpansion>>;
  /** Most rows in one batch of the backfill. Default 1000. */
  readonly chunkRows: number;
  /** Rest after each batch. Default 0. */
  readonly pauseMs: number;
  readonly spec: Json;
}

const sql = z.string({ error: 'SQL' }).trim().min(1, 'SQL');
const name = z.string({ error: 'a name' }).min(1, 'a name').max(63, 'a name of at most 63 bytes');
const names = z.array(name, { error: 'a list of names' });
const byName = <Value extends z.ZodType>(value: Value) => z.record(name, value, { error: 'names with what they are' });

const CONSTRAINT = 'CHECK (…) or FOREIGN KEY (…) REFERENCES …; a unique one is an index: { on, unique: true }';

const table = z.strictObject(
  {
    add: byName(
      z.strictObject(
        {
          type: sql,
          up: sql.optional(),
          down: byName(sql).optional(),
          notNull: z.boolean({ error: 'true or false' }).optional(),
          default: sql.optional(),
        },
        { error: 'a column: { type, up, down, notNull, default }' },
      ),
    ).optional(),
    drop: names.optional(),
    indexes: byName(
      z.strictObject(
        { on: sql, unique: z.boolean({ error: 'true or false' }).optional() },
        { error: "an index: { on: '(full_name)' }" },
      ),
    ).optional(),
    constraints: byName(
      z
        .string({ error: CONSTRAINT })
        .regex(/^\s*(CHECK|FOREIGN\s+KEY)\b/i, CONSTRAINT)
        .refine((given) => !/\bNOT\s+VALID\s*$/i.test(given), 'a constraint without NOT VALID, which is added here'),
    ).optional(),
    givesUp: names.optional(),
  },
  { error: 'a table: { add, drop, indexes, constraints, givesUp }' },
);

/** What `expand` takes, for plans that are written without types. */
export const expandSchema = z.object({
  in: z.custom<Store>(
    (store) => typeof store === 'object' && store !== null && 'kind' in store && store.kind === 'postgres',
    'postgres(url): only there columns can be added beside writers',
  ),
  tables: byName(table).refine((tables) => Object.keys(tables).length > 0, 'at least one table'),
  chunkRows: z.int({ error: 'a whole number' }).min(1, 'a whole number from 1'),
  pauseMs: z.number({ error: 'a duration such as "50ms"' }).nonnegative('a duration such as "50ms"'),
});
