import type { SchemaOptions, TableMapping } from '../../plan/sync.ts';
import type { TableDescription } from './description.ts';
import type { Dialect } from './dialect.ts';
import { portable, type KnownColumn } from './expressions.ts';
import type { ColumnRule, TypeRules } from './rules.ts';

export interface Translation {
  readonly from: Dialect;
  readonly to: Dialect;
  readonly types: TypeRules;
  readonly options: SchemaOptions;
  /** Source table → target table with its columns, for the parents of foreign keys. */
  readonly tables: ReadonlyMap<string, { readonly name: string; readonly columnOf: (source: string) => string }>;
}

/** One table between its two engines: what its columns are called on the other side, and how its expressions are said there. */
export class TableWay {
  /** Name in the target. */
  readonly name: string;
  readonly source: TableDescription;
  readonly translation: Translation;
  /** Source column → target column. */
  readonly targets: ReadonlyMap<string, string>;
  readonly isSameEngine: boolean;
  /** True where every name stays, so that the source's own words fit. */
  readonly keepsNames: boolean;

  constructor(name: string, mapping: TableMapping, source: TableDescription, translation: Translation) {
    this.name = name;
    this.source = source;
    this.translation = translation;
    const pairs = mapping.columns ?? Object.fromEntries(source.columns.map((column) => [column.name, column.name]));
    this.targets = new Map(
      Object.entries(pairs).flatMap(([target, from]) => (typeof from === 'string' ? [[from, target] as const] : [])),
    );
    this.isSameEngine = translation.from.kind === translation.to.kind;
    this.keepsNames = source.columns.every((column) => this.targets.get(column.name) === column.name);
  }

  /** In the target's words; null where its meaning would not be the same. */
  expression(expression: string, columnRules: readonly ColumnRule[]): string | null {
    if (this.isSameEngine && this.keepsNames) return expression;
    const known = new Map<string, KnownColumn>();
    for (const column of this.source.columns) {
      const target = this.targets.get(column.name);
      const type = columnRules.find(({ source }) => source === column.name)?.type ?? column.type;
      if (target !== undefined) known.set(column.name.toLowerCase(), { name: target, type });
    }
    const { from, to } = this.translation;
    return portable(expression, from.kind === 'sqlite' ? 'sqlite' : 'other', known, (name) => to.quoted(name));
  }
}
