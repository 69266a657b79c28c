import type { SchemaAccess } from '../../plan/stores.ts';
import type { ColumnDescription, TableDescription } from './description.ts';
import type { Dialect } from './dialect.ts';

/** Where a table that is there differs from the one that would be made, in words; empty where its columns and key are the same. */
export async function differences(
  access: SchemaAccess,
  dialect: Dialect,
  store: string,
  wanted: TableDescription,
): Promise<string[]> {
  const found = await dialect.read(access, store, wanted.name);
  const differing: string[] = [];
  for (const column of wanted.columns) {
    const own = found.columns.find(({ name }) => name === column.name);
    if (own === undefined) differing.push(`it has no column ${column.name}`);
    else differing.push(...columnDifferences(column, own));
  }
  for (const { name } of found.columns)
    if (!wanted.columns.some((column) => column.name === name)) differing.push(`its column ${name} would not be there`);
  if (found.primaryKey.join() !== wanted.primaryKey.join())
    differing.push(`its primary key is (${found.primaryKey.join(', ')}), not (${wanted.primaryKey.join(', ')})`);
  return differing;
}

function columnDifferences(wanted: ColumnDescription, found: ColumnDescription): string[] {
  const differing: string[] = [];
  if (!isSameType(wanted, found))
    differing.push(`its column ${wanted.name} is ${found.declared}, not ${wanted.declared}`);
  if (wanted.identity === null && wanted.isNullable !== found.isNullable && !isKeyOf(found))
    differing.push(`its column ${wanted.name} may ${found.isNullable ? '' : 'not '}be NULL`);
  if ((wanted.generated === null) !== (found.generated === null))
    differing.push(`its column ${wanted.name} is ${found.generated === null ? 'not ' : ''}generated`);
  return differing;
}

/** A column of the key is not nullable whatever its declaration says. */
function isKeyOf({ isNullable, identity }: ColumnDescription): boolean {
  return !isNullable && identity !== null;
}

/** Types have several spellings: the kind and what stands in brackets decide. */
function isSameType(wanted: ColumnDescription, found: ColumnDescription): boolean {
  if (wanted.declared.toLowerCase() === found.declared.toLowerCase()) return true;
  const isSameKind = JSON.stringify(wanted.type) === JSON.stringify(found.type) && wanted.type.kind !== 'native';
  return isSameKind && brackets(wanted.declared) === brackets(found.declared);
}

function brackets(declared: string): string {
  return (/\(([^)]*)\)/.exec(declared)?.[1] ?? '').replaceAll(' ', '');
}
