import type { Computed, Key, Row, TableShape, Value } from '../plan/stores.ts';
import type { RowFunction } from '../plan/sync.ts';
import type { Direction } from '../plan/words.ts';
import { isSameValue } from './canonical.ts';
import { columnWays, inverted, picker, type ColumnPairs, type MappedTable } from './mapping-columns.ts';
import { keyFunctions, orNull, refusalOf, type KeyFunction } from './mapping-keys.ts';

export type { ColumnPairs, MappedTable } from './mapping-columns.ts';

/** A table with the expressions that are read with its rows. */
export interface SourceShape extends TableShape {
  readonly computed: readonly Computed[];
}

/** Columns and the values that they have in all rows of one way. */
export type Marks = readonly (readonly [column: string, value: Value])[];

/** One table's way from a source to a target. Forward and reverse are the same thing with the ends exchanged. */
export interface TableMap {
  /** In the ledger and in verdicts: the target's table, or the plan's name for this way where several end in that table. */
  readonly name: string;
  readonly direction: Direction;
  readonly source: SourceShape;
  readonly target: TableShape;
  /** Null: the row has no counterpart in the target. */
  readonly map: RowFunction;
  /**
   * Target column of every value and where the source's rows carry it, where nothing but columns, expressions and `marks` move; null where
   * anything else is to be thought of.
   */
  readonly columns: ColumnPairs | null;
  /** True where `map` or the keys are the plan's own functions: they may be slow, and may fail. */
  readonly isCustom: boolean;
  /** True where columns are converted, so that `map` may throw `Unfit`. */
  readonly isConverting: boolean;
  /** Why a key has no counterpart, where it is a value that the target cannot hold. */
  readonly refusal: (key: Key) => string | null;
  /** Key of the target from a key of the source. Null: no counterpart. */
  readonly keyTo: KeyFunction;
  /** Key of the source from a key of the target. Null: the target's row does not come from this table. */
  readonly keyBack: KeyFunction;
  /**
   * The way of the other direction. A target's row that it maps to null never had a source's row, so it is not an extra one.
   * Null where there is no such way.
   */
  readonly opposite: RowFunction | null;
  /** A row of this end with other values belongs to another way, or to none. */
  readonly marks: { readonly source: Marks; readonly target: Marks };
  /** Ways of further columns of the target's rows, each from a table of its own whose rows share the key. */
  readonly parts: readonly TableMap[];
  /** The columns that make a row of a part: where all of them are NULL there need not be one. Null for what is no part. */
  readonly partColumns: readonly string[] | null;
  /** The other ways into the target's table. Their rows are told apart by marks, by keys, or by which source has them. */
  readonly siblings: readonly TableMap[];
  /** The other ways out of the source's table. */
  readonly rivals: readonly TableMap[];
  /** True for the one way of a table that answers for rows which belong to no way at all. */
  readonly takesStrangers: boolean;
}

/**
 * The ways of a sync's tables in a direction, as far as anything flows that way.
 *
 * @param isAlone False for a target table into which another sync moves rows too.
 */
export function tableMaps(
  tables: readonly MappedTable[],
  direction: Direction,
  isAlone: (target: string) => boolean = () => true,
): TableMap[] {
  const made = tables.flatMap((table) => {
    const map = tableMap(table, direction);
    return map === null
      ? []
      : [{ map, partOf: table.mapping.partOf, name: table.name, hasRow: table.mapping.row !== undefined }];
  });
  const leadOf = (partOf: string | undefined) => made.find(({ name }) => name === partOf)?.map;
  const isJoined = ({ map, partOf }: (typeof made)[number]) => leadOf(partOf)?.target.name === map.target.name;
  const ways = made
    .filter((one) => !isJoined(one))
    .map(({ map, partOf, name, hasRow }) => {
      const parts = made.filter((one) => one.partOf === name && isJoined(one)).map((one) => one.map);
      const partColumns = leadOf(partOf) === undefined ? null : map.partColumns;
      const columns = parts.length === 0 && partColumns === null ? map.columns : null;
      return { map: { ...map, parts, partColumns, columns }, name, hasRow };
    });
  const result: (TableMap & { siblings: TableMap[]; rivals: TableMap[] })[] = ways.map(({ map, name, hasRow }) => {
    const others = ways.filter((one) => one.map !== map && !one.hasRow && !hasRow);
    const ofTarget = others.filter((one) => one.map.target.name === map.target.name);
    const marked = [map, ...ofTarget.map((one) => one.map)].some(({ marks }) => marks.target.length > 0);
    const isFirst = ways.find((one) => one.map.target.name === map.target.name)?.map === map;
    return {
      ...map,
      name: ofTarget.length === 0 ? map.target.name : name,
      columns: ofTarget.length === 0 ? map.columns : null,
      takesStrangers: isFirst && marked && !hasRow && isAlone(map.target.name),
      siblings: [],
      rivals: [],
    };
  });
  for (const [index, map] of result.entries())
    for (const [other, sibling] of result.entries()) {
      if (index === other || ways[index]?.hasRow === true || ways[other]?.hasRow === true) continue;
      if (sibling.target.name === map.target.name) map.siblings.push(sibling);
      if (sibling.source.name === map.source.name) map.rivals.push(sibling);
    }
  return result;
}

/** The way of one table in a direction, looked at alone; null where nothing flows that way. */
export function tableMap(table: MappedTable, direction: Direction): TableMap | null {
  const { mapping, legacy, next, name } = table;
  const keys = keyFunctions(table);
  const ways = columnWays(table);
  const to = mapping.row?.to ?? picker([...ways.moved, ...ways.there], ways.constants);
  const returned = [...ways.moved.map(inverted), ...ways.back];
  const back = mapping.row === undefined ? picker(returned, []) : (mapping.row.back ?? null);
  const isConverting = mapping.row === undefined && ways.moved.some(({ to: convert }) => convert !== null);
  const isCustom = mapping.row !== undefined || mapping.key !== undefined;
  const isPlain = !isCustom && ways.moved.every((way) => way.to === null && way.back === null);
  const common = {
    name,
    direction,
    isCustom,
    isConverting,
    parts: [],
    siblings: [],
    rivals: [],
    takesStrangers: false,
  };
  const marks = mapping.row === undefined ? ways.constants : [];
  const besidesKey = (columns: readonly string[], { key }: TableShape) => columns.filter((one) => !key.includes(one));
  if (direction === 'forward')
    return {
      ...common,
      source: { ...legacy, computed: mapping.row === undefined ? ways.there : [] },
      target: next,
      map: to,
      columns: isPlain ? [...ways.moved, ...ways.there].map(({ target, source }) => [target, source]) : null,
      refusal: () => null,
      keyTo: keys.to,
      keyBack: orNull(keys.back),
      opposite: null,
      marks: { source: [], target: marks },
      partColumns: besidesKey(
        [...ways.moved, ...ways.there].map(({ target }) => target),
        next,
      ),
    };
  if ((mapping.reverse ?? 'rows') !== 'rows' || back === null) return null;
  return {
    ...common,
    source: { ...next, computed: mapping.row === undefined ? ways.back : [] },
    target: legacy,
    map: back,
    columns: isPlain ? returned.map(({ target, source }) => [target, source]) : null,
    refusal: (key) => refusalOf(keys.back, key),
    keyTo: orNull(keys.back),
    keyBack: orNull(keys.to),
    opposite: to,
    marks: { source: marks, target: [] },
    partColumns: besidesKey(
      returned.map(({ target }) => target),
      legacy,
    ),
  };
}

/** True where the row has the values by which rows of a way are known. */
export function hasMarks(row: Row, marks: Marks): boolean {
  return marks.every(([column, value]) => isSameValue(row[column] ?? null, value));
}
