/**
 * Where the new architecture keeps its rows. Nothing is cached here, and by callers only what they ask the version of: another process may
 * write to the same database at any time, and may make it refuse writes at any time.
 */
export interface Storage {
  readonly kind: 'sqlite' | 'postgres';
  /** Makes missing tables and indexes. */
  migrate(): Promise<void>;
  /** Throws when the database does not answer or a table is missing. */
  ping(): Promise<void>;
  /** Throws {@link StoreRefused} when a write would be refused now; leaves nothing behind. */
  assertWritable(): Promise<void>;

  /** Who is known and unwanted: one entry for each encoding, in the order of `encoding_id`. */
  people(): Promise<NewPerson[]>;
  /** The same with the encodings. */
  encodings(): Promise<StoredEncoding[]>;
  /** Another text whenever the answer of {@link encodings} may be another, whichever process wrote; without reading an encoding. */
  encodingsVersion(): Promise<string>;
  /** Adds an encoding to a person, who is made if there is none of that id. */
  addEncoding(person: NewPerson, encoding: readonly number[], at: number): Promise<void>;
  /** Removes a person with all encodings; false when there is none. */
  removePerson(personId: string): Promise<boolean>;

  /** One transaction; nothing happens when the event is already there, so that it may be repeated after a lost answer. */
  addEvent(
    event: NewEvent,
    recognition: NewRecognition | null,
    notifications: readonly NewNotification[],
  ): Promise<void>;
  /** The newest `limit` events of these types, oldest first. */
  recentEvents(types: readonly string[], limit: number): Promise<StoredEvent[]>;
  /** Up to `limit` events of these types that are older than `before`, or the newest of all; newest first. */
  eventsBefore(types: readonly string[], limit: number, before: EventPosition | null): Promise<PlacedEvent[]>;

  addNotification(notification: NewNotification): Promise<void>;
  /** The oldest notifications of this status. */
  notifications(status: NotificationStatus, limit: number): Promise<NewNotification[]>;
  updateNotification(alertId: string, status: NotificationStatus, metadata: NotificationMetadata): Promise<void>;
  close(): Promise<void>;
}

export interface NewPerson {
  /** `known:<name>` or `blacklist:<name>`: the same name may stand on both lists. */
  readonly personId: string;
  readonly name: string;
  readonly isBlacklisted: boolean;
}

export interface StoredEncoding extends NewPerson {
  readonly encoding: readonly number[];
}

export interface NewEvent {
  readonly eventId: string;
  readonly type: string;
  /** Seconds since the epoch, with microseconds. */
  readonly timestamp: number;
  readonly source: string;
  readonly priority: string;
  readonly confidence: number | null;
  readonly correlationId: string | null;
  /** JSON. */
  readonly data: string;
}

export interface StoredEvent {
  readonly type: string;
  readonly timestamp: number;
  /** JSON. */
  readonly data: string | null;
}

/** Where an event stands in the order of events, also among those of the same instant. */
export interface EventPosition {
  readonly timestamp: number;
  readonly id: number;
}

export interface PlacedEvent extends StoredEvent, EventPosition {}

export interface NewRecognition {
  readonly known: number;
  readonly unknown: number;
  readonly blacklisted: number;
  readonly seconds: number;
  /** JSON. */
  readonly data: string;
}

export type NotificationStatus = 'pending' | 'delivered' | 'failed' | 'rate_limited' | 'aggregated';

export interface NotificationMetadata {
  readonly attempts: number;
  /** File of the picture to send along. */
  readonly capture: string | null;
  readonly error?: string;
  /** How far each channel is that has begun. */
  readonly channels?: Readonly<Record<string, ChannelState>>;
  /** Other notifications that this one tells of; their status is `aggregated`. */
  readonly folded?: { readonly ids: readonly string[]; readonly titles: readonly string[] };
}

export interface ChannelState {
  readonly status: 'pending' | 'delivered' | 'failed';
  readonly attempts: number;
  readonly error?: string;
  /** ISO 8601: not before. */
  readonly next?: string;
  /** Recipients who have got it. */
  readonly served?: readonly string[];
}

export interface NewNotification {
  readonly alertId: string;
  readonly type: string;
  readonly priority: 'info' | 'warning' | 'critical';
  readonly status: NotificationStatus;
  /** ISO 8601, UTC. */
  readonly timestamp: string;
  /** JSON. */
  readonly content: string;
  readonly metadata: NotificationMetadata;
}

/** The database refuses writes: this side is not the one that may write now. */
export class StoreRefused extends Error {
  override readonly name = 'StoreRefused';
  constructor(cause: unknown) {
    super('The store refuses writes at the moment: this side is not the one that may write', { cause });
  }
}

/** Rows that belong together, as columns and values; both databases write them the same way. */
export type Write = readonly [sql: string, values: readonly (string | number | null)[]];

const PERSON_COLUMNS = 'p.person_id, p.person_name, p.is_blacklisted';
const FROM_ENCODINGS = 'FROM face_encodings e JOIN persons p ON p.person_id = e.person_id ORDER BY e.encoding_id';
export const PEOPLE_SQL = `SELECT ${PERSON_COLUMNS} ${FROM_ENCODINGS}`;
export const ENCODINGS_SQL = `SELECT ${PERSON_COLUMNS}, e.encoding_data ${FROM_ENCODINGS}`;

export interface PersonRow {
  readonly person_id: string;
  readonly person_name: string | null;
  readonly is_blacklisted: number | string | bigint | null;
}

export interface EncodingRow extends PersonRow {
  readonly encoding_data: string;
}

export function storedPerson(row: PersonRow): NewPerson {
  return { personId: row.person_id, name: row.person_name ?? '', isBlacklisted: Number(row.is_blacklisted) === 1 };
}

export function storedEncoding(row: EncodingRow): StoredEncoding {
  return { ...storedPerson(row), encoding: JSON.parse(row.encoding_data) as number[] };
}

export const NOTIFICATIONS_SQL =
  'SELECT alert_id, alert_type, priority, status, timestamp, content, metadata FROM notifications';

export interface NotificationRow {
  readonly alert_id: string;
  readonly alert_type: string;
  readonly priority: NewNotification['priority'];
  readonly status: NotificationStatus;
  readonly timestamp: string;
  readonly content: string | null;
  readonly metadata: string | null;
}

export function storedNotification(row: NotificationRow): NewNotification {
  return {
    alertId: row.alert_id,
    type: row.alert_type,
    priority: row.priority,
    status: row.status,
    timestamp: row.timestamp,
    content: row.content ?? '{}',
    metadata: { attempts: 0, capture: null, ...(JSON.parse(row.metadata ?? '{}') as object) },
  };
}

export function encodingWrites(person: NewPerson, encoding: readonly number[], at: number): Write[] {
  return [
    [
      'INSERT INTO persons (person_id, person_name, is_blacklisted, created_at, updated_at, metadata) VALUES (?, ?, ?, ?, ?, ?) ' +
        'ON CONFLICT (person_id) DO UPDATE SET updated_at = excluded.updated_at',
      [person.personId, person.name, person.isBlacklisted ? 1 : 0, at, at, '{}'],
    ],
    [
      'INSERT INTO face_encodings (person_id, encoding_data, created_at) VALUES (?, ?, ?)',
      [person.personId, JSON.stringify(encoding), at],
    ],
  ];
}

/** The event itself, which changes nothing when it is there, and what must be written only if it was not. */
export function eventWrites(
  event: NewEvent,
  recognition: NewRecognition | null,
  notifications: readonly NewNotification[],
): readonly [event: Write, rest: readonly Write[]] {
  const first: Write = [
    'INSERT INTO events (event_id, event_type, timestamp, source, priority, confidence, correlation_id, event_data, processing_stage) ' +
      "VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'stored') ON CONFLICT (event_id) DO NOTHING",
    [
      event.eventId,
      event.type,
      event.timestamp,
      event.source,
      event.priority,
      event.confidence,
      event.correlationId,
      event.data,
    ],
  ];
  const rest: Write[] = [];
  if (recognition) {
    const { known, unknown, blacklisted, seconds, data } = recognition;
    rest.push([
      'INSERT INTO face_recognition_events (event_id, recognition_count, known_count, unknown_count, blacklisted_count, recognition_time, recognition_data) ' +
        'VALUES (?, ?, ?, ?, ?, ?, ?)',
      [event.eventId, known + unknown + blacklisted, known, unknown, blacklisted, seconds, data],
    ]);
  }
  return [first, [...rest, ...notifications.map(notificationWrite)]];
}

export function notificationWrite(notification: NewNotification): Write {
  const { alertId, type, priority, status, timestamp, content, metadata } = notification;
  return [
    'INSERT INTO notifications (alert_id, alert_type, priority, status, timestamp, content, metadata) VALUES (?, ?, ?, ?, ?, ?, ?)',
    [alertId, type, priority, status, timestamp, content, JSON.stringify(metadata)],
  ];
}

/** A row that is never kept: its write shows whether writes are refused. Its own id, so that it draws none from a sequence. */
export const PROBE: Write = [
  "INSERT INTO events (id, event_id, event_type, timestamp) VALUES (-1, 'probe', 'PROBE', 0)",
  [],
];
