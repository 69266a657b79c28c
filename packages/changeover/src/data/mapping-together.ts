import type { TableMapping } from '../plan/sync.ts';
import type { Finding } from '../plan/words.ts';
import { isSameValue } from './canonical.ts';
import { columnWays, endsOf, type MappedTable } from './mapping-columns.ts';

/** What is wrong with mappings that share a table, which none of them shows alone. */
export function checkTogether(
  sync: string,
  tables: Readonly<Record<string, TableMapping>>,
  mapped: readonly MappedTable[],
): Finding[] {
  return [
    ...Object.entries(tables).flatMap(([name, mapping]) => checkPart(sync, name, mapping, tables)),
    ...pairsOf(mapped).flatMap(([one, other]) => [...checkSplit(one, other), ...checkMerge(one, other)]),
  ];
}

function checkPart(
  sync: string,
  name: string,
  mapping: TableMapping,
  tables: Readonly<Record<string, TableMapping>>,
): Finding[] {
  if (mapping.partOf === undefined) return [];
  const lead = tables[mapping.partOf];
  const error = (message: string, remedy: string): Finding[] => [
    { level: 'error', about: `data.${sync}: ${name}`, message, remedy },
  ];
  if (lead === undefined || mapping.partOf === name)
    return error(
      `partOf names ${mapping.partOf}, and no other mapping has that name`,
      `one of: ${Object.keys(tables).join(', ')}`,
    );
  if (lead.partOf !== undefined)
    return error(`${mapping.partOf} is itself part of ${lead.partOf}`, `partOf: '${lead.partOf}'`);
  const [own, its] = [endsOf(name, mapping), endsOf(mapping.partOf, lead)];
  const sharesSource = own.from === its.from;
  if (sharesSource === (own.to === its.to))
    return error(
      sharesSource
        ? `it has the source and the target of ${mapping.partOf}`
        : `it has neither the source nor the target of ${mapping.partOf}`,
      `give both the same \`from\` (one table becomes two) or the same \`to\` (two tables become one), and not both`,
    );
  if (mapping.row !== undefined || mapping.key !== undefined)
    return error(
      'a part moves by its columns alone, and it has functions',
      'use `columns` in place of `row` and `key`',
    );
  if (Object.values(mapping.columns ?? {}).some((source) => typeof source === 'object' && 'constant' in source))
    return error('a part has a constant', `move the constant to ${mapping.partOf}`);
  if ((mapping.reverse ?? 'rows') !== (lead.reverse ?? 'rows'))
    return error(
      `it goes back as \`${mapping.reverse ?? 'rows'}\`, and ${mapping.partOf} as \`${lead.reverse ?? 'rows'}\``,
      'give both the same `reverse`',
    );
  return [];
}

/** Two ways out of one table that both write whole rows back would overwrite and delete each other's. */
function checkSplit(one: MappedTable, other: MappedTable): Finding[] {
  if (one.legacy.name !== other.legacy.name || !goBack(one, other) || areParts(one, other)) return [];
  return [
    {
      level: 'error',
      about: `data.${other.sync}: ${other.name}`,
      message: `${one.name} and ${other.name} both carry the rows of ${one.legacy.name} back`,
      remedy: `partOf: '${one.name}' where it holds further columns of the same rows, or reverse: 'derived' where the legacy needs nothing of it`,
    },
  ];
}

/** Rows of several tables in one must be told apart, or nobody knows where one goes back to. */
function checkMerge(one: MappedTable, other: MappedTable): Finding[] {
  if (one.next.name !== other.next.name || areParts(one, other)) return [];
  if (one.mapping.row !== undefined || other.mapping.row !== undefined) return [];
  const error = (message: string, remedy: string): Finding[] => [
    { level: 'error', about: `data.${other.sync}: ${other.name}`, message, remedy },
  ];
  if (one.legacy.name === other.legacy.name)
    return error(
      `${one.name} and ${other.name} have the same source and the same target`,
      'leave one of them out: a row would be written by both',
    );
  const constants = new Map(columnWays(one).constants);
  const common = columnWays(other).constants.filter(([column]) => constants.has(column));
  const isToldApart = common.some(([column, value]) => !isSameValue(value, constants.get(column) ?? null));
  if (isToldApart || !goBack(one, other)) return [];
  const [column, value] = common[0] ?? [];
  return error(
    column === undefined
      ? `${one.legacy.name} and ${other.legacy.name} both become ${one.next.name}, and nothing tells where a row goes back to`
      : `${one.name} and ${other.name} have the same constant in ${column}: ${JSON.stringify(value)}`,
    `give each its own constant in one column: columns: { ${column ?? 'source'}: constant('${other.legacy.name}') }, or \`reverse: 'none'\` with \`givesUp\``,
  );
}

function goBack(...tables: readonly MappedTable[]): boolean {
  return tables.every(({ mapping }) => (mapping.reverse ?? 'rows') === 'rows' && mapping.row === undefined);
}

/** True for mappings that divide the columns of the same rows. */
export function areParts(one: MappedTable, other: MappedTable): boolean {
  const [a, b] = [one.mapping.partOf, other.mapping.partOf];
  return a === other.name || b === one.name || (a !== undefined && a === b);
}

function pairsOf<T>(items: readonly T[]): (readonly [T, T])[] {
  return items.flatMap((one, index) => items.slice(index + 1).map((other) => [one, other] as const));
}
