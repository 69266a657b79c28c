import type { TableMapping } from '../../plan/sync.ts';
import type { SchemaRule } from '../../plan/words.ts';
import { translatedColumn } from './column-parts.ts';
import { translatedChecks, translatedForeignKeys, translatedIndexes } from './constraints.ts';
import type { ColumnDescription, TableDescription } from './description.ts';
import type { Dialect, Problem } from './dialect.ts';
import { Parts } from './parts.ts';
import { columnRule, type ColumnRule } from './rules.ts';
import { TableWay, type Translation } from './table-way.ts';

/** A table of the target as it is to be made, in the target's words. */
export interface TableDesign {
  readonly table: TableDescription;
  readonly source: TableDescription;
  readonly columns: readonly ColumnRule[];
  /** Every column, default, check, index and foreign key. */
  readonly rules: readonly SchemaRule[];
  /** What no rule can settle: names that the target cannot have. */
  readonly problems: readonly Problem[];
}

/** Turns a table of the source into the one that is to be made. Reads nothing. */
export function translateTable(
  name: string,
  mapping: TableMapping,
  source: TableDescription,
  translation: Translation,
): TableDesign {
  const { to, options } = translation;
  const way = new TableWay(name, mapping, source, translation);
  const parts = new Parts(options.omit ?? []);
  const { columns, rules } = translatedColumns(way, parts);
  const natives = source.natives.filter(({ name: native, definition }) => !parts.isOmitted(native, definition));
  const table: TableDescription = {
    name,
    columns,
    primaryKey: source.primaryKey.map((column) => way.targets.get(column) ?? column),
    checks: translatedChecks(way, parts, rules),
    indexes: translatedIndexes(way, parts, rules),
    foreignKeys: translatedForeignKeys(way, parts),
    natives: way.isSameEngine ? natives : [],
    prerequisites: way.isSameEngine ? source.prerequisites : [],
    // After all others: a part that is left out keeps the statement from being used.
    sql: verbatim(way, parts),
    options: [],
    leftBehind: [],
  };
  if (way.isSameEngine && table.sql === null && source.sql !== null)
    for (const option of source.options)
      if (!parts.isOmitted(`${name}:${option}`, option)) parts.refuse(`${name}:${option}`, option);
  if (!way.isSameEngine) for (const native of natives) parts.refuse(native.name, native.definition);
  return { table, source, columns: rules, rules: parts.rules, problems: problemsOf(table, to) };
}

function translatedColumns(way: TableWay, parts: Parts): { columns: ColumnDescription[]; rules: ColumnRule[] } {
  const { types, options } = way.translation;
  const moved = way.source.columns.flatMap((column) => {
    const target = way.targets.get(column.name);
    if (target === undefined) return [];
    return [{ column, rule: columnRule(types, way.name, target, column, options.columns?.[`${way.name}.${target}`]) }];
  });
  const all = moved.map(({ rule }) => rule);
  const columns: ColumnDescription[] = [];
  const rules: ColumnRule[] = [];
  for (const { column, rule } of moved) {
    const { from, declared, verdict, reason, isNamed, remedy } = rule;
    const name = `${way.name}.${rule.column}`;
    if (column.generated !== null && parts.isOmitted(name, column.generated.expression)) continue;
    rules.push(rule);
    parts.rules.push({ name, from, to: declared, verdict, reason, isNamed, remedy });
    columns.push(translatedColumn(way, parts, column, rule, all));
  }
  return { columns, rules };
}

/** SQLite keeps a table's statement: between two SQLite files with nothing renamed, changed or left out it is used as it is. */
function verbatim(way: TableWay, parts: Parts): string | null {
  const isUntouched = way.isSameEngine && way.keepsNames && way.source.name === way.name;
  return isUntouched && !parts.rules.some(({ isNamed }) => isNamed) ? way.source.sql : null;
}

function problemsOf(table: TableDescription, to: Dialect): Problem[] {
  const problems: Problem[] = [];
  const names = new Map<string, string>();
  for (const { name } of table.columns) {
    const folded = to.ignoresCase ? name.toLowerCase() : name;
    const other = names.get(folded);
    const remedy = `give it another name: columns: { …, other_name: '${name}' }`;
    if (other !== undefined)
      problems.push({ message: `columns ${other} and ${name} have one name in the target`, remedy });
    if (to.nameLimit !== null && Buffer.byteLength(name) > to.nameLimit)
      problems.push({ message: `column ${name} has a name of more than ${to.nameLimit} bytes`, remedy });
    if (to.reservedColumns.includes(name))
      problems.push({ message: `column ${name} has a name that the target keeps for itself`, remedy });
    names.set(folded, name);
  }
  const last = table.name.slice(table.name.lastIndexOf('.') + 1);
  if (to.nameLimit !== null && Buffer.byteLength(last) > to.nameLimit)
    problems.push({
      message: `the table's name has more than ${to.nameLimit} bytes`,
      remedy: `tables: { shorter_name: { from: '${table.name}' } }`,
    });
  return [...problems, ...to.problems(table)];
}
