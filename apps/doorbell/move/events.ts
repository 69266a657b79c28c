import path from 'node:path';
import { float, formatPythonLiteral, parsePythonLiteral, plain } from 'changeover/python';
import { log, sync, type Row, type Store, type SyncDefinition } from 'changeover';

/** A line of `events.log`, read as values. */
interface LegacyEvent {
  readonly timestamp: string;
  readonly event_type: string;
  readonly faces: readonly {
    readonly status: string;
    readonly name: string | null;
    readonly confidence: number;
    readonly distance: number;
  }[];
  readonly capture_path: string | null;
}

/** What `events.event_data` holds, as the new side writes it. */
interface EventData {
  readonly faces: readonly {
    readonly status: string;
    readonly name: string | null;
    readonly confidence: number;
    readonly distance: number | null;
  }[];
  readonly capture: string | null;
  readonly local_time: string;
  readonly legacy_line?: string;
}

const TYPES: Readonly<Record<string, string>> = {
  KNOWN_VISITOR: 'FACE_RECOGNIZED',
  UNKNOWN_VISITOR: 'FACE_UNKNOWN',
  BLACKLIST_ALERT: 'FACE_BLACKLISTED',
  NO_FACES: 'NO_FACES_DETECTED',
  // No exact partner: the camera is the component that failed.
  CAPTURE_FAILURE: 'COMPONENT_ERROR',
};
const LEGACY_TYPES = new Map(Object.entries(TYPES).map(([legacy, next]) => [next, legacy]));

/** Ids of events from the legacy begin here and are negative, so that an id alone tells where its event was born. */
const FIRST_LINE = -(2 ** 40);

/** One line is one event and the counts of its recognition. Lines keep their text, because local times of the repeated hour do not invert. */
export function events(legacyRoot: string, to: Store): SyncDefinition {
  const captures = path.join(legacyRoot, 'data/captures');
  return sync({
    name: 'events',
    from: log(path.join(legacyRoot, 'data/logs/events.log'), { format: 'python' }),
    to,
    tables: {
      events: {
        from: 'lines',
        key: { to: ([line]) => [idOfLine(String(line))], back: ([id]) => [lineOfId(Number(id))] },
        row: { to: eventOf, back: (row) => lineOf(row, captures) },
        givesUp: [
          'an event that is changed or deleted on the new side: the log of the legacy is only appended to',
          'events of other kinds than visits: the legacy has no words for them',
        ],
      },
      face_recognition_events: {
        from: 'lines',
        key: { to: ([line]) => [idOfLine(String(line))], back: ([id]) => [lineOfId(Number(id))] },
        row: { to: recognitionOf },
        // The faces stand in the event itself, from which its line is written.
        reverse: 'derived',
      },
    },
  });
}

function idOfLine(line: string): number {
  return line.startsWith('@') ? FIRST_LINE + Number(line.slice(1)) : Number(line.slice('event-'.length));
}

function lineOfId(id: number): string {
  return id < 0 ? `@${id - FIRST_LINE}` : `event-${id}`;
}

function eventId(line: string): string {
  return `legacy-${line.replace('@', '')}`;
}

function eventOf(line: Row): Row {
  const text = String(line['text']);
  const event = plain(parsePythonLiteral(text)) as unknown as LegacyEvent;
  const data: EventData = {
    faces: event.faces.map(({ status, name, confidence, distance }) => ({
      status,
      name,
      confidence,
      // JSON has no infinity: nobody was near.
      distance: Number.isFinite(distance) ? distance : null,
    })),
    capture: event.capture_path === null ? null : path.basename(event.capture_path),
    local_time: event.timestamp,
    legacy_line: text,
  };
  const type = TYPES[event.event_type] ?? event.event_type;
  return {
    id: idOfLine(String(line['id'])),
    event_id: eventId(String(line['id'])),
    event_type: type,
    timestamp: epochSeconds(event.timestamp),
    source: 'doorbell',
    priority: type === 'FACE_BLACKLISTED' ? 'CRITICAL' : 'HIGH',
    confidence: data.faces.length === 0 ? null : Math.max(...data.faces.map((face) => face.confidence)),
    event_data: JSON.stringify(data),
    processing_stage: 'stored',
  };
}

function recognitionOf(line: Row): Row {
  const { faces } = plain(parsePythonLiteral(String(line['text']))) as unknown as LegacyEvent;
  const count = (status: string) => faces.filter((face) => face.status === status).length;
  return {
    id: idOfLine(String(line['id'])),
    event_id: eventId(String(line['id'])),
    recognition_count: faces.length,
    known_count: count('known'),
    unknown_count: count('unknown'),
    blacklisted_count: count('blacklisted'),
  };
}

function lineOf(row: Row, captures: string): Row | null {
  const id = lineOfId(Number(row['id']));
  const data = JSON.parse(String(row['event_data'])) as EventData;
  if (data.legacy_line !== undefined) return { id, text: data.legacy_line };
  const type = LEGACY_TYPES.get(String(row['event_type']));
  if (type === undefined) return null;
  const text = formatPythonLiteral({
    timestamp: data.local_time,
    event_type: type,
    faces: data.faces.map(({ status, name, confidence, distance }) => ({
      status,
      name,
      confidence: float(confidence),
      distance: float(distance ?? Infinity),
    })),
    capture_path: data.capture === null ? null : path.join(captures, data.capture),
  });
  return { id, text };
}

/**
 * The legacy writes local times without a zone; they are read in the zone of this process, which must be that of the legacy (`TZ`). In the
 * hour that is repeated in autumn the first of the two is taken; the text is kept beside it.
 */
function epochSeconds(local: string): number {
  const [whole = '', fraction = ''] = local.split('.');
  return (new Date(whole).getTime() * 1000 + Number(fraction.padEnd(6, '0'))) / 1e6;
}
