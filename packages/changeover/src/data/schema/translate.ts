import type { Value } from '../../plan/stores.ts';
import type { TableMapping, SchemaOptions } from '../../plan/sync.ts';
import type { SchemaRule } from '../../plan/words.ts';
import { exactInteger } from '../values.ts';
import { Unfit } from './codec.ts';
import type {
  CheckDescription,
  ColumnDescription,
  ColumnType,
  ForeignKeyDescription,
  IndexDescription,
  TableDescription,
} from './description.ts';
import type { Dialect } from './dialect.ts';
import { literalOf, portable, type KnownColumn, type Literal } from './expressions.ts';
import { fittingName } from './names.ts';
import { columnRule, type ColumnRule, type TypeRules } from './rules.ts';
import { withDefaultAffinity } from './sqlite/defaults.ts';

/** A table of the target as it is to be made, in the target's words. */
export interface TableDesign {
  readonly table: TableDescription;
  readonly source: TableDescription;
  readonly columns: readonly ColumnRule[];
  /** Every column, default, check, index and foreign key. */
  readonly rules: readonly SchemaRule[];
  /** What no rule can settle: names that the target cannot have. */
  readonly problems: readonly { readonly message: string; readonly remedy: string }[];
}

export interface Translation {
  readonly from: Dialect;
  readonly to: Dialect;
  readonly types: TypeRules;
  readonly options: SchemaOptions;
  /** Source table → target table with its columns, for the parents of foreign keys. */
  readonly tables: ReadonlyMap<string, { readonly name: string; readonly columnOf: (source: string) => string }>;
}

/** Turns a table of the source into the one that is to be made. Reads nothing. */
export function translateTable(
  name: string,
  mapping: TableMapping,
  source: TableDescription,
  translation: Translation,
): TableDesign {
  return new TableTranslator(name, mapping, source, translation).translate();
}

class TableTranslator {
  readonly #name: string;
  readonly #source: TableDescription;
  readonly #way: Translation;
  /** Source column → target column. */
  readonly #targets: ReadonlyMap<string, string>;
  readonly #isSameEngine: boolean;
  /** True where every name stays, so that the source's own words fit. */
  readonly #keepsNames: boolean;
  readonly #rules: SchemaRule[] = [];
  readonly #omitted: ReadonlySet<string>;

  constructor(name: string, mapping: TableMapping, source: TableDescription, way: Translation) {
    this.#name = name;
    this.#source = source;
    this.#way = way;
    const pairs = mapping.columns ?? Object.fromEntries(source.columns.map((column) => [column.name, column.name]));
    this.#targets = new Map(Object.entries(pairs).map(([target, from]) => [from, target]));
    this.#isSameEngine = way.from.kind === way.to.kind;
    this.#keepsNames = source.columns.every((column) => this.#targets.get(column.name) === column.name);
    this.#omitted = new Set(way.options.omit ?? []);
  }

  translate(): TableDesign {
    const { to, options } = this.#way;
    const columns: ColumnDescription[] = [];
    const columnRules: ColumnRule[] = [];
    for (const column of this.#source.columns) {
      const target = this.#targets.get(column.name);
      if (target === undefined) continue;
      const rule = columnRule(
        this.#way.types,
        this.#name,
        target,
        column,
        options.columns?.[`${this.#name}.${target}`],
      );
      if (column.generated !== null && this.#isPartOmitted(`${this.#name}.${target}`, column.generated.expression))
        continue;
      columnRules.push(rule);
      this.#rules.push({
        name: `${this.#name}.${target}`,
        from: rule.from,
        to: rule.declared,
        verdict: rule.verdict,
        reason: rule.reason,
        isNamed: rule.isNamed,
        remedy: rule.remedy,
      });
      columns.push(this.#column(column, target, rule));
    }
    const natives = this.#source.natives.filter(({ name, definition }) => !this.#isPartOmitted(name, definition));
    const table: TableDescription = {
      name: this.#name,
      columns,
      primaryKey: this.#source.primaryKey.map((column) => this.#targets.get(column) ?? column),
      checks: [
        ...this.#source.checks.flatMap((check) => this.#check(check, columnRules)),
        ...(this.#isSameEngine ? [] : columnRules.flatMap((rule) => this.#enumCheck(rule))),
      ],
      indexes: this.#source.indexes.flatMap((index) => this.#index(index, columnRules)),
      foreignKeys: this.#source.foreignKeys.flatMap((key) => this.#foreignKey(key)),
      natives: this.#isSameEngine ? natives : [],
      prerequisites: this.#isSameEngine ? this.#source.prerequisites : [],
      // After all others: a part that is left out keeps the statement from being used.
      sql: this.#verbatim(),
      options: [],
      leftBehind: [],
    };
    if (this.#isSameEngine && table.sql === null && this.#source.sql !== null)
      for (const option of this.#source.options)
        if (!this.#isPartOmitted(`${this.#name}:${option}`, option)) this.#refuse(`${this.#name}:${option}`, option);
    if (!this.#isSameEngine) for (const { name, definition } of natives) this.#refuse(name, definition);
    return { table, source: this.#source, columns: columnRules, rules: this.#rules, problems: problemsOf(table, to) };
  }

  /** SQLite keeps a table's statement: between two SQLite files with nothing renamed, changed or left out it is used as it is. */
  #verbatim(): string | null {
    const { sql, name } = this.#source;
    const isUntouched = this.#isSameEngine && this.#keepsNames && name === this.#name;
    return isUntouched && !this.#rules.some(({ isNamed }) => isNamed) ? sql : null;
  }

  #column(column: ColumnDescription, name: string, rule: ColumnRule): ColumnDescription {
    const made: ColumnDescription = {
      ...column,
      name,
      type: rule.type,
      declared: rule.declared,
      collation: rule.collation,
      default: null,
      generated: null,
      identity: this.#identity(column, name, rule),
    };
    return { ...made, default: this.#default(column, made, rule), generated: this.#generated(column, name) };
  }

  #identity(column: ColumnDescription, name: string, { type }: ColumnRule): ColumnDescription['identity'] {
    // Where the plan gives the key another type, its values come from elsewhere.
    if (column.identity !== null && type.kind !== 'integer') return null;
    if (column.identity === null || this.#isSameEngine) return column.identity;
    const isOnlyKey = this.#source.primaryKey.length === 1 && this.#source.primaryKey[0] === column.name;
    if (this.#way.to.kind !== 'sqlite' || isOnlyKey) return 'default';
    const part = `${this.#name}.${name}:identity`;
    if (!this.#isPartOmitted(part, 'a sequence'))
      this.#refuse(part, 'a sequence', 'SQLite gives numbers to a single integer key only');
    return null;
  }

  #default(column: ColumnDescription, made: ColumnDescription, rule: ColumnRule): string | null {
    if (column.default === null) return null;
    // The sequence becomes an identity elsewhere.
    if (column.identity === 'sequence' && !this.#isSameEngine) return null;
    const part = `${this.#name}.${made.name}:default`;
    if (this.#isPartOmitted(part, column.default)) return null;
    if (this.#isSameEngine) return column.default;
    const made_ = this.#defaultIn(column, made, rule);
    if (made_ === null) this.#refuse(part, column.default);
    else this.#accept(part, column.default, made_);
    return made_;
  }

  #defaultIn(column: ColumnDescription, made: ColumnDescription, rule: ColumnRule): string | null {
    const { from, to } = this.#way;
    const found = literalOf(column.default ?? '', from.kind === 'sqlite' ? 'sqlite' : 'other');
    if (found === undefined) return null;
    if ('now' in found) return to.now(found.now, made);
    if (found.value === null) return 'NULL';
    const value =
      from.kind === 'sqlite' ? withDefaultAffinity(found.value, column.declared) : typedValue(found, column.type.kind);
    try {
      return to.literal(rule.codec === null ? value : rule.codec.to(value), made);
    } catch (error) {
      if (error instanceof Unfit) return null;
      throw error;
    }
  }

  #generated(column: ColumnDescription, name: string): ColumnDescription['generated'] {
    if (column.generated === null) return null;
    const expression = this.#expression(column.generated.expression, null);
    if (expression === null) this.#refuse(`${this.#name}.${name}`, `AS (${column.generated.expression})`);
    const isStored = column.generated.isStored || this.#way.to.kind === 'postgres';
    return { expression: expression ?? '', isStored };
  }

  #check(check: CheckDescription, columnRules: readonly ColumnRule[]): CheckDescription[] {
    if (this.#isPartOmitted(check.name, check.expression)) return [];
    const boolean = this.#booleanCheck(check.expression, columnRules);
    if (boolean !== null) {
      this.#rules.push({
        ...this.#part(check.name, check.expression, null),
        reason: `${boolean} is a boolean, which says the same`,
      });
      return [];
    }
    const expression = this.#expression(check.expression, columnRules);
    if (expression === null) {
      this.#refuse(check.name, check.expression);
      return [];
    }
    const name = fittingName(check.name, this.#way.to.nameLimit);
    this.#accept(check.name, check.expression, expression);
    return [{ name, expression }];
  }

  /** `flag IN (0, 1)` says nothing more of a column that became a boolean. */
  #booleanCheck(expression: string, columnRules: readonly ColumnRule[]): string | null {
    const match = /^\(?\s*["`[]?([^"`\]\s]+)["`\]]?\s+IN\s*\(\s*(0\s*,\s*1|1\s*,\s*0)\s*\)\s*\)?$/i.exec(
      expression.trim(),
    );
    const column = columnRules.find(({ source }) => source.toLowerCase() === match?.[1]?.toLowerCase());
    return column?.type.kind === 'boolean' && !this.#isSameEngine ? column.column : null;
  }

  #enumCheck({ column, type, declared, from }: ColumnRule): CheckDescription[] {
    if (type.kind !== 'enum') return [];
    const name = `${this.#name}_${column}_check`;
    const values = type.values.map((value) => this.#way.to.literal(value, this.#plainColumn(column, declared)));
    const expression = `${this.#way.to.quoted(column)} IN (${values.join(', ')})`;
    this.#accept(name, from, expression);
    return [{ name, expression }];
  }

  #plainColumn(name: string, declared: string): ColumnDescription {
    const type = { kind: 'text', isPadded: false } as const;
    return { name, type, declared, isNullable: true, collation: null, default: null, generated: null, identity: null };
  }

  #index(index: IndexDescription, columnRules: readonly ColumnRule[]): IndexDescription[] {
    const columns = index.terms.flatMap(({ column }) => (column === null ? [] : [column]));
    const shown = index.definition || `UNIQUE (${columns.join(', ')})`;
    if (this.#isPartOmitted(index.name, shown)) return [];
    if (columns.some((column) => !this.#targets.has(column))) {
      this.#skip(index.name, shown, 'it is on a column that does not move');
      return [];
    }
    const fits = this.#isSameEngine && this.#keepsNames;
    const where = index.where === null ? null : this.#expression(index.where, columnRules);
    const hasForeignCollation = !this.#isSameEngine && this.#hasOwnCollation(index, columnRules);
    const cannot = (index.isNative && !fits) || (index.where !== null && where === null) || hasForeignCollation;
    if (cannot) {
      this.#refuse(index.name, shown);
      return [];
    }
    const name = fittingName(index.name, this.#way.to.nameLimit);
    this.#accept(index.name, shown, name);
    const terms = index.terms.map((term) => ({
      ...term,
      column: term.column === null ? null : (this.#targets.get(term.column) ?? term.column),
      collation: this.#isSameEngine ? term.collation : null,
    }));
    return [{ ...index, name, terms, where }];
  }

  /** A collation of the index that is not the column's own, or one whose loss the plan has not accepted for the column. */
  #hasOwnCollation(index: IndexDescription, columnRules: readonly ColumnRule[]): boolean {
    return index.terms.some(({ column, collation }) => {
      if (collation === null) return false;
      const declared = this.#source.columns.find(({ name }) => name === column)?.collation;
      const isAccepted = columnRules.some(({ source, isNamed }) => source === column && isNamed);
      return collation !== declared || !isAccepted;
    });
  }

  #foreignKey(key: ForeignKeyDescription): ForeignKeyDescription[] {
    const shown = `${key.columns.join(', ')} → ${key.parent}`;
    if (this.#isPartOmitted(key.name, shown)) return [];
    const parent = this.#way.tables.get(key.parent);
    if (parent === undefined) {
      this.#refuse(key.name, shown, `${key.parent} is not among the tables of this sync`);
      return [];
    }
    if (key.columns.some((column) => !this.#targets.has(column))) {
      this.#skip(key.name, shown, 'it is on a column that does not move');
      return [];
    }
    const name = fittingName(key.name, this.#way.to.nameLimit);
    this.#accept(key.name, shown, name);
    const columns = key.columns.map((column) => this.#targets.get(column) ?? column);
    return [{ ...key, name, parent: parent.name, columns, parentColumns: key.parentColumns.map(parent.columnOf) }];
  }

  /** In the target's words; null where its meaning would not be the same. */
  #expression(expression: string, columnRules: readonly ColumnRule[] | null): string | null {
    if (this.#isSameEngine && this.#keepsNames) return expression;
    const known = new Map<string, KnownColumn>();
    for (const column of this.#source.columns) {
      const target = this.#targets.get(column.name);
      const type = columnRules?.find(({ source }) => source === column.name)?.type ?? column.type;
      if (target !== undefined) known.set(column.name.toLowerCase(), { name: target, type });
    }
    const engine = this.#way.from.kind === 'sqlite' ? 'sqlite' : 'other';
    return portable(expression, engine, known, (name) => this.#way.to.quoted(name));
  }

  #isPartOmitted(name: string, shown: string): boolean {
    if (!this.#omitted.has(name)) return false;
    this.#rules.push({
      ...this.#part(name, shown, null),
      verdict: 'lossy',
      reason: 'left out, as the plan says',
      isNamed: true,
    });
    return true;
  }

  #accept(name: string, from: string, to: string): void {
    this.#rules.push(this.#part(name, from, to));
  }

  #skip(name: string, from: string, reason: string): void {
    this.#rules.push({ ...this.#part(name, from, null), reason });
  }

  #refuse(name: string, from: string, reason = 'it may mean something else in the target, or nothing'): void {
    const remedy = `omit: ['${name}'], and make what replaces it in the new side's own migrations`;
    this.#rules.push({ ...this.#part(name, from, null), verdict: 'lossy', reason, remedy });
  }

  #part(name: string, from: string, to: string | null): SchemaRule {
    return { name, from, to, verdict: 'exact', reason: 'the same meaning', isNamed: false, remedy: null };
  }
}

/** A constant of an engine with types, as its store gives such a value. */
function typedValue({ value, text }: Exclude<Literal, { now: string }>, kind: ColumnType['kind']): Value {
  if (kind === 'decimal' && text !== null) return text;
  if (kind === 'real' && typeof value !== 'boolean') return Number(text ?? value);
  if (kind === 'integer' && typeof value === 'string' && /^-?\d+$/.test(value)) return exactInteger(BigInt(value));
  if (kind === 'bytes' && typeof value === 'string' && value.startsWith('\\x'))
    return new Uint8Array(Buffer.from(value.slice(2), 'hex'));
  return typeof value === 'bigint' ? exactInteger(value) : value;
}

function problemsOf(table: TableDescription, to: Dialect): { message: string; remedy: string }[] {
  const problems: { message: string; remedy: string }[] = [];
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
  if (to.kind === 'postgres' && !/^[^.]+(\.[^.]+)?$/.test(table.name))
    problems.push({
      message: 'a dot stands between a schema and a table',
      remedy: `tables: { other_name: { from: '${table.name}' } }`,
    });
  if (to.kind === 'sqlite' && /^sqlite_/i.test(table.name))
    problems.push({
      message: 'names that begin with sqlite_ are reserved',
      remedy: `tables: { other_name: { from: '${table.name}' } }`,
    });
  return problems;
}
