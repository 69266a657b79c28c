export { createSnapshot } from './snapshot.ts';
export type { SnapshotDefinition } from './take.ts';
