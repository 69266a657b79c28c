export { type Comparison, compareLedger, isKept, type NotesSource } from './compare.ts';
export { type Note, type NotesStore } from './note.ts';
export { Pictures } from './pictures.ts';
export {
  type ClientOptions,
  type LegacyOptions,
  type NextOptions,
  type NotesClient,
  type NotesSide,
  NOTES_PROGRAMS,
  setUpNext,
  startLegacy,
  startNext,
  startNotesClient,
} from './start.ts';
export { type LegacyStore, openLegacyNotes, openNextNotes, openPictures } from './stores.ts';
export { type ClientSummary } from './tally.ts';
