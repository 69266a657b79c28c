import { ChangeoverError } from '../../errors.ts';
import type { Context } from '../../plan/context.ts';
import type { OpenStore } from '../../plan/stores.ts';
import type { ExpandedTable } from './expansions.ts';
import type { Made } from './statements.ts';
import { accessOf, isTrue } from './table.ts';

/** A build that was ended in its middle leaves an index that is INVALID; it is dropped and made again, so often. */
const MAX_BUILDS = 3;

/** Constraints and indexes, when every row has its values. What is there already stays as it is; what is half made is finished. */
export async function build(ctx: Context, table: ExpandedTable, made: Made): Promise<void> {
  const { steps } = table;
  for (const constraint of steps.constraints) {
    ctx.signal.throwIfAborted();
    if (constraint.column === null) await constrain(table, constraint);
    else await forbidNull(table, { ...constraint, column: constraint.column });
  }
  for (const name of Object.keys(steps.expansion.indexes ?? {})) {
    ctx.signal.throwIfAborted();
    await index(table, name, made.get('index')?.includes(name) === true);
  }
}

interface Constraint {
  readonly name: string;
  readonly sql: string;
}

async function constrain(table: ExpandedTable, { name, sql }: Constraint): Promise<void> {
  const { store, steps } = table;
  const isValid = await validity(store, 'SELECT convalidated FROM pg_constraint WHERE conrelid = $1 AND conname = $2', [
    steps.table.oid,
    name,
  ]);
  if (isValid === null)
    await change(table, steps.table.name, [steps.record('constraint', name), steps.addConstraint(name, sql)]);
  if (isValid !== true) await change(table, steps.table.name, [steps.validate(name)]);
}

async function forbidNull(table: ExpandedTable, given: Constraint & { readonly column: string }): Promise<void> {
  const { steps } = table;
  const { name, column } = given;
  if (steps.table.columns.some((found) => found.name === column && found.isNotNull)) return;
  await constrain(table, given);
  // A check that is valid spares Postgres the scan of the whole table under the lock.
  const statements = [steps.record('not null', column), steps.setNotNull(column), steps.dropConstraint(name)];
  await change(table, steps.table.name, statements);
}

async function index(table: ExpandedTable, name: string, isRecorded: boolean): Promise<void> {
  const { store, identity, steps } = table;
  const look = () =>
    validity(store, 'SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass($1)', [steps.indexName(name)]);
  for (let built = 0; ; built++) {
    const isValid = await look();
    if (isValid === true) return;
    if (built === MAX_BUILDS)
      throw refused(identity, steps.index(name), new Error(`it was INVALID after ${MAX_BUILDS} builds`));
    // What is there and was not recorded is somebody else's; what is recorded first is ours, however its build ends.
    if (isValid === null && !isRecorded) await change(table, steps.table.name, [steps.record('index', name)]);
    if (isValid === false) await outside(store, identity, steps.dropIndex(name));
    await outside(store, identity, steps.index(name));
  }
}

/** Null where there is nothing of that name. */
async function validity(store: OpenStore, sql: string, values: readonly string[]): Promise<boolean | null> {
  const [row] = await accessOf(store).query(sql, values);
  return row === undefined ? null : isTrue(row[0]);
}

async function outside(store: OpenStore, identity: string, sql: string): Promise<void> {
  try {
    await accessOf(store).outside(sql);
  } catch (cause) {
    throw cause instanceof ChangeoverError ? cause : refused(identity, sql, cause);
  }
}

/** Statements as one transaction, with short locks and behind the gate. */
export async function change(
  { store, identity }: Pick<ExpandedTable, 'store' | 'identity'>,
  about: string,
  statements: readonly string[],
): Promise<void> {
  try {
    await accessOf(store).change(statements, { about });
  } catch (cause) {
    throw cause instanceof ChangeoverError ? cause : refused(identity, statements.join('; '), cause);
  }
}

function refused(store: string, statement: string, cause: unknown): ChangeoverError<'CHG_DATA_EXPAND_REFUSED'> {
  const detail =
    cause instanceof Error && 'detail' in cause && typeof cause.detail === 'string' ? ` (${cause.detail})` : '';
  const reason = `${cause instanceof Error ? cause.message : String(cause)}${detail}`;
  return new ChangeoverError('CHG_DATA_EXPAND_REFUSED', { store, statement, reason }, { cause });
}
