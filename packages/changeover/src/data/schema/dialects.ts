import type { Store } from '../../plan/stores.ts';
import type { Dialect } from './dialect.ts';
import { postgresToMariadb, sqliteToMariadb } from './mariadb/to-mariadb.ts';
import { mariadbToPostgres } from './mariadb/to-postgres.ts';
import { mariadbToSqlite } from './mariadb/to-sqlite.ts';
import { mariadbDialect } from './mariadb/write.ts';
import { postgresEngine } from './postgres/rules.ts';
import { writtenPostgresType } from './postgres/types.ts';
import { postgresDialect } from './postgres/write.ts';
import { sameEngine, type RuleBook, type TypeRules } from './rules.ts';
import { keptInSqlite } from './sqlite/kept.ts';
import { sqliteTo } from './sqlite/rules.ts';
import { sqliteDialect } from './sqlite/write.ts';

type Kind = Store['kind'];

const DIALECTS: Partial<Record<Kind, Dialect>> = {
  sqlite: sqliteDialect,
  postgres: postgresDialect,
  mariadb: mariadbDialect,
};

const RULES: RuleBook = {
  'sqlite sqlite': sameEngine(() => ({ kind: 'native', needs: null })),
  'postgres postgres': sameEngine(writtenPostgresType),
  'sqlite postgres': sqliteTo(postgresEngine),
  'postgres sqlite': keptInSqlite,
  'mariadb postgres': mariadbToPostgres,
  'mariadb sqlite': mariadbToSqlite,
  'sqlite mariadb': sqliteToMariadb,
  'postgres mariadb': postgresToMariadb,
};

/** What a store's engine says about schemas; null for a store that has none. */
export function dialectOf(kind: Kind): Dialect | null {
  return DIALECTS[kind] ?? null;
}

/** How columns of one engine become another's; null where nobody has said it yet. */
export function rulesBetween(from: Kind, to: Kind): TypeRules | null {
  return RULES[`${from} ${to}`] ?? null;
}
