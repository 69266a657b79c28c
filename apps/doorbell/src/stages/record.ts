import type { EventData } from '../events.ts';
import type { Parts } from '../parts.ts';
import type { NewRecognition } from '../storage/storage.ts';
import { occasionsOf } from './occasions.ts';
import { countOf, type Visit } from './visit.ts';

/** Stores the event with its counts and its messages, in one transaction that may be repeated; then the messages are sent. */
export async function record({ storage, settings, notifications }: Parts, visit: Visit): Promise<Visit> {
  const { people, type, timestamp, local, capture, eventId } = visit;
  const data: EventData = {
    faces: people.map(({ status, name, confidence, distance }) => ({ status, name, confidence, distance })),
    capture,
    local_time: local,
  };
  const recognition: NewRecognition | null = visit.recognition && {
    known: countOf(people, 'known'),
    unknown: countOf(people, 'unknown'),
    blacklisted: countOf(people, 'blacklisted'),
    ...visit.recognition,
  };
  const event = {
    eventId,
    type,
    timestamp,
    source: 'doorbell',
    priority: type === 'FACE_BLACKLISTED' ? 'CRITICAL' : 'HIGH',
    confidence: people.length > 0 ? Math.max(...people.map(({ confidence }) => confidence)) : null,
    correlationId: null,
    data: JSON.stringify(data),
  };
  const messages = occasionsOf(visit, settings.notifications).flatMap(
    ([alert, occasion]) => notifications.prepare(alert, occasion) ?? [],
  );
  await storage.addEvent(event, recognition, messages);
  notifications.deliver();
  return visit;
}
