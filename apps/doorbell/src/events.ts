import path from 'node:path';
import { localIso } from '../shared/names.ts';
import type { StoredEvent } from './storage/storage.ts';

/** A face of an event: who it was taken for and how far from the nearest known encoding. */
export interface RecognisedFace {
  readonly status: 'known' | 'unknown' | 'blacklisted';
  readonly name: string | null;
  /** 1 − distance; 0 for the unknown. */
  readonly confidence: number;
  /** Null where nobody was near: JSON has no infinity. */
  readonly distance: number | null;
}

/** `events.event_data`: all that the legacy's line of the event needs, so that it can be written back exactly. */
export interface EventData {
  readonly faces: readonly RecognisedFace[];
  /** Name of the picture's file in the captures folder. */
  readonly capture: string | null;
  /** Local time without a zone, as it was shown when it happened; the epoch alone cannot tell it in the repeated hour. */
  readonly local_time: string;
  /** Only on events that came from the legacy: their line, without its end. */
  readonly legacy_line?: string;
}

/** Types of events that follow a press, with the names that the legacy and its clients know. */
export const LEGACY_TYPES = {
  FACE_RECOGNIZED: 'KNOWN_VISITOR',
  FACE_UNKNOWN: 'UNKNOWN_VISITOR',
  FACE_BLACKLISTED: 'BLACKLIST_ALERT',
  NO_FACES_DETECTED: 'NO_FACES',
  COMPONENT_ERROR: 'CAPTURE_FAILURE',
} as const;

export type EventType = keyof typeof LEGACY_TYPES;
export const EVENT_TYPES = Object.keys(LEGACY_TYPES) as readonly EventType[];

/** One instant as seconds since the epoch with microseconds, and as local time. */
export interface Moment {
  readonly timestamp: number;
  readonly local: string;
}

let last = { ms: 0, micros: 0 };

/** Later than the one before, also within a millisecond, whose microseconds come from another clock. */
export function now(): Moment {
  const date = new Date();
  const ms = date.getTime();
  const seen = Math.floor((performance.now() * 1000) % 1000);
  const micros = ms === last.ms ? Math.min(999, Math.max(seen, last.micros + 1)) : seen;
  last = { ms, micros };
  return { timestamp: (date.getTime() * 1000 + micros) / 1e6, local: localIso(date, micros) };
}

/** An event as `GET /api/recent-events` shows it; null for a row that is no visit. */
export function shownEvent(event: StoredEvent, captures: string) {
  if (!isEventType(event.type) || event.data === null) return null;
  const { faces, capture, local_time: timestamp } = JSON.parse(event.data) as EventData;
  return {
    timestamp,
    event_type: LEGACY_TYPES[event.type],
    faces,
    capture_path: capture === null ? null : path.join(captures, capture),
  };
}

function isEventType(type: string): type is EventType {
  return Object.hasOwn(LEGACY_TYPES, type);
}
