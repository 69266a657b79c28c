import path from 'node:path';
import type { Configuration } from '../settings.ts';
import type { Storage } from './storage.ts';

/** SQLite in the root, or the Postgres of `DATABASE_URL`. Only the driver that is used is loaded. */
export async function openStorage(root: string, { settings, secrets }: Configuration): Promise<Storage> {
  if (secrets.databaseUrl === null) {
    const { SqliteStorage } = await import('./sqlite.ts');
    return new SqliteStorage(path.resolve(root, settings.storage.database_path));
  }
  const { PostgresStorage } = await import('./postgres.ts');
  return new PostgresStorage(secrets.databaseUrl);
}
