import type { Session } from './session.ts';

/** A foreign key that changes rows of its table when the row it points to changes: InnoDB does that without firing a trigger. */
interface Cascade {
  readonly child: string;
  readonly parent: string;
  /** Columns of the child, and those of the parent that they point to, in the same order. */
  readonly columns: readonly string[];
  readonly referenced: readonly string[];
}

/** One way along which a change of a parent reaches rows of `table`: the steps from the parent down to it. */
export interface CascadePath {
  readonly table: string;
  readonly steps: readonly Cascade[];
  /** True where the way comes back to a table that it has been to: how far it goes cannot be said, so the whole table is compared. */
  readonly isCyclic: boolean;
}

/** What has to be watched for a set of tables. */
export interface Cascades {
  /** Every table whose changes may reach one of the set: its parents, their parents, and so on, beside the set itself. */
  readonly parents: readonly string[];
  /** The ways that begin at `parent` and end in a table of the set. */
  from(parent: string): readonly CascadePath[];
}

/** Reads the foreign keys of the database that cascade, or set to NULL, and follows them upwards from `tables`. */
export async function readCascades(session: Session, tables: readonly string[]): Promise<Cascades> {
  const all = await readForeignKeys(session);
  const reached = new Set(tables);
  for (let size = -1; size !== reached.size;) {
    size = reached.size;
    for (const { child, parent } of all) if (reached.has(child)) reached.add(parent);
  }
  return {
    parents: [...reached].filter((table) => !tables.includes(table)).sort(),
    from: (parent) => pathsFrom(all, parent, []).filter(({ table }) => tables.includes(table)),
  };
}

function pathsFrom(all: readonly Cascade[], parent: string, steps: readonly Cascade[]): CascadePath[] {
  const visited = [parent, ...steps.map((step) => step.parent)];
  return all
    .filter((cascade) => cascade.parent === parent)
    .flatMap((cascade): CascadePath[] => {
      const longer = [...steps, cascade];
      if (visited.includes(cascade.child)) return belowCycle(all, cascade.child, longer);
      const own: CascadePath = { table: cascade.child, steps: longer, isCyclic: false };
      return [own, ...pathsFrom(all, cascade.child, longer)];
    });
}

/** Past a cycle every table below may be reached any number of times. */
function belowCycle(all: readonly Cascade[], table: string, steps: readonly Cascade[]): CascadePath[] {
  const below = new Set([table]);
  for (let size = -1; size !== below.size;) {
    size = below.size;
    for (const { child, parent } of all) if (below.has(parent)) below.add(child);
  }
  return [...below].map((reached) => ({ table: reached, steps, isCyclic: true }));
}

async function readForeignKeys(session: Session): Promise<Cascade[]> {
  const rows = await session.texts(
    `SELECT r.CONSTRAINT_NAME, k.TABLE_NAME, k.REFERENCED_TABLE_NAME, k.COLUMN_NAME, k.REFERENCED_COLUMN_NAME
     FROM information_schema.REFERENTIAL_CONSTRAINTS r
     JOIN information_schema.KEY_COLUMN_USAGE k
       ON k.CONSTRAINT_SCHEMA = r.CONSTRAINT_SCHEMA AND k.CONSTRAINT_NAME = r.CONSTRAINT_NAME AND k.TABLE_NAME = r.TABLE_NAME
     WHERE r.CONSTRAINT_SCHEMA = DATABASE() AND k.REFERENCED_TABLE_SCHEMA = DATABASE()
       AND (r.DELETE_RULE IN ('CASCADE', 'SET NULL', 'SET DEFAULT') OR r.UPDATE_RULE IN ('CASCADE', 'SET NULL', 'SET DEFAULT'))
     ORDER BY k.TABLE_NAME, r.CONSTRAINT_NAME, k.ORDINAL_POSITION`,
  );
  const found = new Map<string, { child: string; parent: string; columns: string[]; referenced: string[] }>();
  for (const [name, child, parent, column, referenced] of rows) {
    const id = JSON.stringify([child, name]);
    const cascade = found.get(id) ?? { child: child ?? '', parent: parent ?? '', columns: [], referenced: [] };
    found.set(id, cascade);
    cascade.columns.push(column ?? '');
    cascade.referenced.push(referenced ?? '');
  }
  return [...found.values()];
}
