import type { CheckDescription, ColumnDescription, ForeignKeyDescription, IndexDescription } from './description.ts';
import { fittingName } from './names.ts';
import type { Parts } from './parts.ts';
import type { ColumnRule } from './rules.ts';
import type { TableWay } from './table-way.ts';

/** Checks of the source, and those that stand for types that the target has not. */
export function translatedChecks(way: TableWay, parts: Parts, rules: readonly ColumnRule[]): CheckDescription[] {
  return [
    ...way.source.checks.flatMap((check) => checkIn(way, parts, rules, check)),
    ...(way.isSameEngine ? [] : rules.flatMap((rule) => enumCheck(way, parts, rule))),
  ];
}

function checkIn(
  way: TableWay,
  parts: Parts,
  rules: readonly ColumnRule[],
  { name, expression }: CheckDescription,
): CheckDescription[] {
  if (parts.isOmitted(name, expression)) return [];
  const boolean = way.isSameEngine ? null : booleanCheck(expression, rules);
  if (boolean !== null) {
    parts.skip(name, expression, `${boolean} is a boolean, which says the same`);
    return [];
  }
  const translated = way.expression(expression, rules);
  if (translated === null) {
    parts.refuse(name, expression);
    return [];
  }
  const fitting = fittingName(name, way.translation.to.nameLimit);
  parts.accept(name, expression, translated);
  return [{ name: fitting, expression: translated }];
}

/** `flag IN (0, 1)` says nothing more of a column that became a boolean. */
function booleanCheck(expression: string, rules: readonly ColumnRule[]): string | null {
  const match = /^\(?\s*["`[]?([^"`\]\s]+)["`\]]?\s+IN\s*\(\s*(0\s*,\s*1|1\s*,\s*0)\s*\)\s*\)?$/i.exec(
    expression.trim(),
  );
  const column = rules.find(({ source }) => source.toLowerCase() === match?.[1]?.toLowerCase());
  return column?.type.kind === 'boolean' ? column.column : null;
}

function enumCheck(way: TableWay, parts: Parts, { column, type, declared, from }: ColumnRule): CheckDescription[] {
  if (type.kind !== 'enum') return [];
  const { to } = way.translation;
  const plain: ColumnDescription = {
    name: column,
    type: { kind: 'text', isPadded: false },
    declared,
    isNullable: true,
    collation: null,
    default: null,
    generated: null,
    identity: null,
  };
  const name = `${way.name}_${column}_check`;
  const expression = `${to.quoted(column)} IN (${type.values.map((value) => to.literal(value, plain)).join(', ')})`;
  parts.accept(name, from, expression);
  return [{ name, expression }];
}

export function translatedIndexes(way: TableWay, parts: Parts, rules: readonly ColumnRule[]): IndexDescription[] {
  return way.source.indexes.flatMap((index) => indexIn(way, parts, rules, index));
}

function indexIn(
  way: TableWay,
  parts: Parts,
  rules: readonly ColumnRule[],
  index: IndexDescription,
): IndexDescription[] {
  const columns = index.terms.flatMap(({ column }) => (column === null ? [] : [column]));
  const shown = index.definition || `UNIQUE (${columns.join(', ')})`;
  if (parts.isOmitted(index.name, shown)) return [];
  if (columns.some((column) => !way.targets.has(column))) {
    parts.skip(index.name, shown, 'it is on a column that does not move');
    return [];
  }
  const where = index.where === null ? null : way.expression(index.where, rules);
  const cannot =
    (index.isNative && !(way.isSameEngine && way.keepsNames)) ||
    (index.where !== null && where === null) ||
    (!way.isSameEngine && hasOwnCollation(way, index, rules));
  if (cannot) {
    parts.refuse(index.name, shown);
    return [];
  }
  const name = fittingName(index.name, way.translation.to.nameLimit);
  parts.accept(index.name, shown, name);
  const terms = index.terms.map((term) => ({
    ...term,
    column: term.column === null ? null : (way.targets.get(term.column) ?? term.column),
    collation: way.isSameEngine ? term.collation : null,
  }));
  return [{ ...index, name, terms, where }];
}

/** A collation of the index that is not the column's own, or one whose loss the plan has not accepted for the column. */
function hasOwnCollation({ source }: TableWay, index: IndexDescription, rules: readonly ColumnRule[]): boolean {
  return index.terms.some(({ column, collation }) => {
    if (collation === null) return false;
    const declared = source.columns.find(({ name }) => name === column)?.collation;
    const isAccepted = rules.some((rule) => rule.source === column && rule.isNamed);
    return collation !== declared || !isAccepted;
  });
}

export function translatedForeignKeys(way: TableWay, parts: Parts): ForeignKeyDescription[] {
  return way.source.foreignKeys.flatMap((key) => foreignKeyIn(way, parts, key));
}

function foreignKeyIn(way: TableWay, parts: Parts, key: ForeignKeyDescription): ForeignKeyDescription[] {
  const { to, tables } = way.translation;
  const shown = `${key.columns.join(', ')} → ${key.parent}`;
  if (parts.isOmitted(key.name, shown)) return [];
  const parent = tables.get(key.parent);
  if (parent === undefined) {
    parts.refuse(key.name, shown, `${key.parent} is not among the tables of this sync`);
    return [];
  }
  if (key.columns.some((column) => !way.targets.has(column))) {
    parts.skip(key.name, shown, 'it is on a column that does not move');
    return [];
  }
  const name = fittingName(key.name, to.nameLimit);
  parts.accept(key.name, shown, name);
  const columns = key.columns.map((column) => way.targets.get(column) ?? column);
  return [{ ...key, name, parent: parent.name, columns, parentColumns: key.parentColumns.map(parent.columnOf) }];
}
