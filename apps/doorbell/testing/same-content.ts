import { cp, mkdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { NdArray, parsePythonLiteral, plain, readPickle } from 'changeover/python';
import { layout } from '../legacy/files.ts';
import { EVENT_TYPES, type EventData, LEGACY_TYPES } from '../src/events.ts';
import type { Storage } from '../src/storage/storage.ts';

interface Line {
  readonly timestamp: string;
  readonly event_type: string;
  readonly faces: readonly {
    status: 'known' | 'unknown' | 'blacklisted';
    name: string | null;
    confidence: number;
    distance: number;
  }[];
  readonly capture_path: string | null;
}

/**
 * Gives a new root the content of a legacy one, so that both can be asked the same questions. Only for tests: nothing is
 * verified here and nothing may change meanwhile.
 */
export async function giveSameContent(legacyRoot: string, nextRoot: string, storage: Storage): Promise<void> {
  const places = layout(legacyRoot);
  for (const folder of ['known_faces', 'blacklist_faces', 'captures', 'cropped_faces']) {
    await mkdir(path.join(nextRoot, 'data', folder), { recursive: true });
    await cp(path.join(legacyRoot, 'data', folder), path.join(nextRoot, 'data', folder), { recursive: true });
  }
  for (const [file, prefix] of [
    [places.knownCache, 'known'],
    [places.blacklistCache, 'blacklist'],
  ] as const) {
    const { names, encodings } = plain(readPickle(await readFile(file))) as { names: string[]; encodings: NdArray[] };
    for (const [index, name] of names.entries()) {
      const person = { personId: `${prefix}:${name}`, name, isBlacklisted: prefix === 'blacklist' };
      await storage.addEncoding(person, [...(encodings[index]?.toFloat64Array() ?? [])], 0);
    }
  }
  for (const [index, line] of (await readFile(places.eventsLog, 'utf8')).split('\n').entries()) {
    const event = parsed(line);
    if (!event) continue;
    const data: EventData = {
      faces: event.faces.map((face) => ({ ...face, distance: Number.isFinite(face.distance) ? face.distance : null })),
      capture: event.capture_path === null ? null : path.basename(event.capture_path),
      local_time: event.timestamp,
      legacy_line: line,
    };
    await storage.addEvent(
      {
        eventId: `line-${index}`,
        type: EVENT_TYPES.find((type) => LEGACY_TYPES[type] === event.event_type) ?? 'COMPONENT_ERROR',
        timestamp: Date.parse(event.timestamp) / 1000,
        source: 'legacy',
        priority: 'HIGH',
        confidence: null,
        correlationId: null,
        data: JSON.stringify(data),
      },
      null,
      [],
    );
  }
}

function parsed(line: string): Line | null {
  try {
    return plain(parsePythonLiteral(line)) as unknown as Line;
  } catch {
    return null; // the seed writes two broken lines
  }
}
