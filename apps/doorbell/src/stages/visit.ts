import type { Face } from '../../shared/faces.ts';
import type { EventType, Moment, RecognisedFace } from '../events.ts';
import type { LampResult } from '../lamp.ts';
import type { Recognition } from '../recognition/recognise.ts';

/** A press that was accepted. It is kept in a file until its event is stored, so it holds values only. */
export interface Rung extends Moment {
  readonly eventId: string;
}

/** With the picture of who rang; null where the camera gave none. */
export interface Sighting extends Rung {
  readonly frame: Uint8Array | null;
  /** More pictures of the same moment, the sharpest first. */
  readonly others: readonly Uint8Array[];
  /** File in the captures folder. */
  readonly capture: string | null;
}

/** With the faces in the picture; null where it could not be searched. */
export interface Detected extends Rung {
  readonly capture: string | null;
  readonly faces: readonly Face[] | null;
  readonly seconds: number;
}

/** With whom the faces belong to. */
export interface Visit extends Rung {
  readonly capture: string | null;
  readonly people: readonly Recognition[];
  readonly type: EventType;
  /** Null where no picture was searched. */
  readonly recognition: { readonly seconds: number; readonly data: string } | null;
}

export function countOf(people: readonly RecognisedFace[], status: RecognisedFace['status']): number {
  return people.filter((one) => one.status === status).length;
}

/** Several faces: the unwanted count more than the unknown, and those more than the known. */
export function typeOf(people: readonly RecognisedFace[]): EventType {
  if (countOf(people, 'blacklisted') > 0) return 'FACE_BLACKLISTED';
  if (countOf(people, 'unknown') > 0) return 'FACE_UNKNOWN';
  return people.length > 0 ? 'FACE_RECOGNIZED' : 'NO_FACES_DETECTED';
}

export const LAMPS: Readonly<Record<EventType, LampResult>> = {
  FACE_BLACKLISTED: 'alert',
  FACE_UNKNOWN: 'unknown',
  FACE_RECOGNIZED: 'known',
  NO_FACES_DETECTED: 'idle',
  COMPONENT_ERROR: 'error',
};
