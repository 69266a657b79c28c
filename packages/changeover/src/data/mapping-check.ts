import { ChangeoverError } from '../errors.ts';
import type { Store, TableShape } from '../plan/stores.ts';
import type { Finding } from '../plan/words.ts';
import { checkExpressionText } from './expression-text.ts';
import {
  columnPairs,
  columnSources,
  columnWays,
  isConstant,
  isExpression,
  type MappedTable,
} from './mapping-columns.ts';
import { givenUpBy } from './mapping-description.ts';
import { areParts } from './mapping-together.ts';
import { tableMap } from './mapping.ts';

/**
 * What a mapping would lose, forward or on the way back.
 *
 * @param others The other mappings of its sync: together they move what each of them leaves.
 */
export function checkMapping(
  table: MappedTable,
  kinds: readonly [from: Kind, to: Kind],
  others: readonly MappedTable[] = [],
): Finding[] {
  const { sync, name, mapping } = table;
  const about = `data.${sync}: ${name}`;
  try {
    tableMap(table, 'forward');
  } catch (error) {
    if (!(error instanceof ChangeoverError)) throw error;
    return [{ level: 'error', about, message: error.message, remedy: error.hint }];
  }
  const findings = mapping.row === undefined ? checkColumns(table, kinds, about, others) : [];
  const reverse = mapping.reverse ?? 'rows';
  const hasGivenUp = givenUpBy(mapping).length > 0;
  if (reverse === 'none' && !hasGivenUp)
    findings.push({
      level: 'error',
      about,
      message: 'nothing of it goes back on a rollback, and `givesUp` does not say so',
      remedy: `givesUp: ['changes of ${name} made after the cutover']`,
    });
  if (reverse === 'rows' && mapping.row !== undefined && mapping.row.back === undefined)
    findings.push({
      level: hasGivenUp ? 'warning' : 'error',
      about,
      message: 'its row function has no `back`: a rollback cannot return its changes',
      remedy:
        "add `row.back`, or `reverse: 'derived'` where another table contains it, or `reverse: 'none'` with `givesUp`",
    });
  return findings;
}

function checkColumns(
  table: MappedTable,
  kinds: readonly [from: Kind, to: Kind],
  about: string,
  others: readonly MappedTable[],
): Finding[] {
  const { mapping, legacy, next } = table;
  const findings: Finding[] = [];
  const pairs = columnPairs(table);
  const isReturned = (mapping.reverse ?? 'rows') === 'rows';
  const givesUp = (column: string) => givenUpBy(mapping).some((text) => words(text).includes(column));
  const error = (message: string, remedy: string) => findings.push({ level: 'error', about, message, remedy });
  const typeOf = (shape: TableShape, column: string) => shape.columns.find((one) => one.name === column)?.type;
  for (const [target, source] of pairs)
    if (typeOf(legacy, source) === undefined) error(`there is no source column ${source}`, `correct columns.${target}`);
  for (const [target, source] of columnSources(table)) {
    const type = typeOf(next, target);
    if (type === undefined) error(`there is no target column ${target}`, `correct columns.${target}`);
    if (isConstant(source) && source.constant === null && next.key.includes(target))
      error(`the constant of ${target} is null, and ${target} is in the key`, `give columns.${target} a value`);
    if (!isExpression(source)) continue;
    for (const problem of checkExpressionText(source, kinds))
      error(`columns.${target}: ${problem.message}`, problem.remedy);
    for (const column of Object.keys(source.back ?? {}))
      if (typeOf(legacy, column) === undefined)
        error(`there is no source column ${column}`, `correct columns.${target}.back`);
  }
  const siblings = others.filter(({ mapping: { row } }) => row === undefined);
  const shared = siblings.filter((one) => one.legacy.name === legacy.name);
  const moved = [table, ...shared].flatMap(columnPairs).map(([, source]) => source);
  const returned = [table, ...shared].flatMap((one) => columnWays(one).back).map(({ target }) => target);
  for (const { name: column } of legacy.columns) {
    const uses = pairs.filter(([, source]) => source === column).length;
    const ways = uses + columnWays(table).back.filter(({ target }) => target === column).length;
    if (!moved.includes(column) && !returned.includes(column) && !givesUp(column))
      error(`column ${column} of ${legacy.name} is not moved`, `map it in \`columns\`, or name it in \`givesUp\``);
    if (ways > 1 && isReturned && !givesUp(column))
      error(
        `column ${column} of ${legacy.name} becomes ${ways} columns, so its way back is not clear`,
        'let one of them alone carry it back: an `expression` that gives up the rest, or `row` with `to` and `back`',
      );
  }
  const parts = siblings.filter((one) => one.next.name === next.name && areParts(one, table));
  const filled = [table, ...parts].flatMap(columnSources).map(([target]) => target);
  for (const column of next.columns)
    if (!filled.includes(column.name) && !givesUp(column.name) && isReturned)
      findings.push({
        level: 'warning',
        about,
        message: `column ${column.name} is only in the new ${next.name}: a rollback does not return it`,
        remedy: `givesUp: ['${column.name}']`,
      });
  for (const [target, source] of pairs) {
    const loss = lossBetween(kinds, typeOf(legacy, source) ?? '', typeOf(next, target) ?? '');
    if (loss !== null && !givesUp(target) && !givesUp(source))
      error(`${source} → ${target}: ${loss}`, `widen the type of ${target}, or name it in \`givesUp\``);
  }
  return findings;
}

function words(text: string): string[] {
  return text.split(/[^\p{L}\p{N}_]+/u);
}

type Kind = Store['kind'];

/** What a value may lose on its way from one declared type to another, silently; refusals are loud and need no finding. */
function lossBetween(kinds: readonly [from: Kind, to: Kind], from: string, to: string): string | null {
  const [source, target] = [widthOf(kinds[0], from), widthOf(kinds[1], to)];
  if (source === 'double' && target === 'single') return '8-byte reals become 4-byte reals';
  const isReal = target === 'double' || target === 'single';
  if (isReal && /^(numeric|decimal)/i.test(from)) return 'exact decimals become binary fractions';
  if (isReal && (kinds[0] === 'postgres' || kinds[0] === 'mariadb') && /^bigint/i.test(from))
    return 'integers above 2^53 become inexact';
  if (kinds[1] === 'sqlite' && affinityIsNumeric(to) && /^(numeric|decimal)/i.test(from))
    return 'decimals of more than 15 digits become inexact';
  if (/^timestamp.* without/i.test(to) && /^timestamp.* with time/i.test(from)) return 'times lose their zone';
  const hasTime = /^timestamp/i.test(from) || (kinds[0] === 'mariadb' && /^datetime/i.test(from));
  return /^date$/i.test(to) && hasTime ? 'times of day are cut off' : null;
}

/** `REAL` has 8 bytes in SQLite and 4 in Postgres, `FLOAT` 8 in both and 4 in MariaDB. */
function widthOf(kind: Kind, type: string): 'single' | 'double' | null {
  if (kind === 'mariadb' && /^float/i.test(type)) return 'single';
  if (/^float4|^real/i.test(type)) return kind === 'postgres' ? 'single' : 'double';
  return /^double|^float/i.test(type) ? 'double' : null;
}

function affinityIsNumeric(type: string): boolean {
  return /^(numeric|decimal)/i.test(type);
}
