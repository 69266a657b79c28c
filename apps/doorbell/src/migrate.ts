/**
 * Makes the tables where they are missing; may be repeated at any time.
 *
 *   DOORBELL_ROOT=FOLDER [DATABASE_URL=postgres://…] node src/migrate.ts
 */
import { readConfiguration } from './settings.ts';
import { openStorage } from './storage/open.ts';
import { rootFolder } from './files.ts';

const root = rootFolder();
const storage = await openStorage(root, await readConfiguration(root));
await storage.migrate();
await storage.close();
console.log(`The ${storage.kind} schema is complete.`);
