import type { AddedColumn, TableExpansion } from '../../plan/expand.ts';
import { quoted } from '../stores/postgres/text.ts';
import type { TableFound } from './table.ts';

/** An added column that has a counterpart in old ones. */
export interface PairedColumn {
  readonly name: string;
  readonly type: string;
  /** Its value from the old columns, with the default where that is NULL. */
  readonly up: string;
  /** Old columns with their values from it; empty where nothing comes back. */
  readonly down: readonly { readonly column: string; readonly type: string; readonly value: string }[];
}

export function pairedColumns(table: TableFound, { add = {} }: TableExpansion): PairedColumn[] {
  return Object.entries(add).flatMap(([name, column]) =>
    column.up === undefined ? [] : [pairedColumn(table, name, column, column.up)],
  );
}

function pairedColumn(table: TableFound, name: string, column: AddedColumn, up: string): PairedColumn {
  const value = column.default === undefined ? `(${up})` : `coalesce((${up}), (${column.default}))`;
  const down = Object.entries(column.down ?? {}).map(([old, back]) => ({
    column: old,
    type: table.columns.find((found) => found.name === old)?.type ?? 'text',
    value: `(${back})`,
  }));
  return { name, type: column.type, up: value, down };
}

/** Types that an explicit cast cuts to their length, which an assignment refuses: they are compared as the text that they are. */
const CUT = /^\s*(character|char|varchar|bpchar|bit)\b/i;
const PADDED = /^\s*(character|char|bpchar)(\s*\(|\s*$)/i;

/** An expression in the form that it has when it is stored in a column of `type`. */
export function stored(expression: string, type: string): string {
  if (!CUT.test(type)) return `(${expression})::${type}`;
  const text = `(${expression})::pg_catalog.text`;
  return PADDED.test(type) ? `pg_catalog.rtrim(${text})` : text;
}

/** Compares every type, bit by bit: JSON has no equality, and numbers and case-blind texts have one that is too wide. */
export function isSame(one: readonly string[], other: readonly string[]): string {
  const image = (values: readonly string[]) => `ROW(${values.join(', ')})::pg_catalog.record`;
  return `${image(one)} OPERATOR(pg_catalog.*=) ${image(other)}`;
}

export function isUp(column: PairedColumn): string {
  return isSame([stored(quoted(column.name), column.type)], [stored(column.up, column.type)]);
}

function isDown({ name, down }: PairedColumn): string {
  const old = down.map(({ column, type }) => stored(quoted(column), type));
  const back = down.map(({ value, type }) => stored(value, type));
  return `${quoted(name)} IS NOT NULL AND ${isSame(old, back)}`;
}

/**
 * True for a row that its last writer left in step: the old side's row has `up` of itself in the new column, the new side's has `down` of the
 * new column in the old ones. Where `down` loses something, only one of the two may hold.
 */
export function isInStep(column: PairedColumn): string {
  return column.down.length === 0 ? `(${isUp(column)})` : `(${isUp(column)} OR ${isDown(column)})`;
}
