/** Makes the tables of the new side, where they are missing: `ROOT=/folder [DATABASE_URL=…] node next-schema.ts`. */
import { openNextNotes } from './stores.ts';

const { ROOT = process.cwd(), DATABASE_URL } = process.env;

const notes = openNextNotes(ROOT, DATABASE_URL);
await notes.createTables();
await notes.close();
