import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Face } from '../shared/faces.ts';
import { type EventData, type EventType, now, type RecognisedFace } from './events.ts';
import { addPicture } from './files.ts';
import type { LampResult } from './lamp.ts';
import type { Alert, Occasion } from './notifications/notifications.ts';
import { type Recognition, recognise } from './recognition/recognise.ts';
import type { NewNotification, NewRecognition } from './storage/storage.ts';
import type { Parts } from './parts.ts';

/** How long an accepted press keeps trying to store its event in a store that refuses or does not answer. */
const STORE_DEADLINE_MS = 5000;
const STORE_RETRY_MS = 200;

interface Visit {
  readonly type: EventType;
  readonly lamp: LampResult;
  readonly faces: readonly Recognition[];
  readonly capture: string | null;
  readonly recognition: NewRecognition | null;
}

/** The button, and what follows a press: picture, faces, people, event, messages. */
export class Press {
  readonly #system: Parts;
  #lastPress = -Infinity;
  #isProcessing = false;

  constructor(system: Parts) {
    this.#system = system;
  }

  /**
   * Accepts a press and returns; false where it is dropped, because it came too soon after the last one or while another is
   * processed. Rejects where its event could not be stored. Until the event is stored the system is not idle.
   */
  async press(): Promise<boolean> {
    const { activity, storage, settings, lamp } = this.#system;
    return activity.run(async () => {
      await storage.assertWritable();
      const at = performance.now();
      if (at - this.#lastPress < settings.hardware.button_debounce_time * 1000) return false;
      this.#lastPress = at;
      if (this.#isProcessing) return false;
      this.#isProcessing = true;
      lamp.pressed();
      // Begun inside `run`, so that the system never looks idle in between.
      void activity
        .goOn(() => this.#process())
        .catch((error: unknown) => {
          console.error('A press was not stored:', error);
          return 'error' as const;
        })
        .then((result) => {
          this.#isProcessing = false;
          lamp.done(result);
        });
      return true;
    });
  }

  async #process(): Promise<LampResult> {
    const { notifications } = this.#system;
    const visit = await this.#see();
    const eventId = randomUUID();
    const prepared = this.#occasions(visit, eventId).flatMap(
      ([alert, occasion]) => notifications.prepare(alert, occasion) ?? [],
    );
    await this.#store(eventId, visit, prepared);
    notifications.deliver();
    return visit.lamp;
  }

  async #see(): Promise<Visit> {
    const { camera, faces, places, storage, settings } = this.#system;
    const frame = await camera.capture();
    if (!frame) return { type: 'COMPONENT_ERROR', lamp: 'error', faces: [], capture: null, recognition: null };
    const capture = await addPicture(places, places.captures, (stamp) => `visitor_${stamp}.jpg`, frame);

    const started = performance.now();
    const found = settings.face_recognition.enabled ? (await faces.analyse(frame)).faces : [];
    const gallery = found.length ? await storage.encodings() : [];
    const tolerances = {
      face: settings.face_recognition.tolerance,
      blacklist: settings.face_recognition.blacklist_tolerance,
    };
    const people = found.map((face) => recognise(face.encoding, gallery, tolerances));
    const seconds = (performance.now() - started) / 1000;
    for (const [index, face] of found.entries()) await this.#keepCrop(face, people[index], index + 1);

    const count = (status: RecognisedFace['status']) => people.filter((one) => one.status === status).length;
    const recognition = {
      known: count('known'),
      unknown: count('unknown'),
      blacklisted: count('blacklisted'),
      seconds,
      data: JSON.stringify(found.map(({ box, score }) => ({ box, score }))),
    };
    return { ...outcomeOf(recognition), faces: people, capture, recognition };
  }

  /** The crops of unwanted people lie with the unknown, as they always did. */
  async #keepCrop({ crop }: Face, person: Recognition | undefined, number: number): Promise<void> {
    const { places } = this.#system;
    const folder = person?.status === 'known' ? places.croppedKnown : places.croppedUnknown;
    const who = (person?.name ?? 'unknown').toLowerCase().replaceAll(/[ /\\]/g, '_');
    await addPicture(places, folder, (stamp) => `${who}_${stamp}_${number}.jpg`, crop);
  }

  #occasions({ type, faces, capture }: Visit, eventId: string): (readonly [Alert, Occasion])[] {
    const { include_images: withImages, include_images_for_known: withKnown } = this.#system.settings.notifications;
    const picture = withImages ? capture : null;
    const of = (status: RecognisedFace['status']) => faces.filter((face) => face.status === status);
    const about = (person: Recognition) => ({
      eventId,
      ...(person.personId === null ? {} : { personId: person.personId }),
      ...(person.name === null ? {} : { personName: person.name }),
      confidence: person.confidence,
    });
    switch (type) {
      case 'FACE_BLACKLISTED':
        return of('blacklisted').map((person) => [
          'blacklist_detection',
          {
            title: '🚨 SECURITY ALERT - Blacklisted Person Detected',
            message: `${person.name ?? 'Somebody'} is at the door`,
            capture: picture,
            ...about(person),
          },
        ]);
      case 'FACE_UNKNOWN':
        return [
          [
            'unknown_person_detection',
            {
              title: '👤 Unknown Person at Door',
              message: 'Somebody unknown rang the doorbell',
              capture: picture,
              eventId,
            },
          ],
        ];
      case 'FACE_RECOGNIZED':
        return of('known').map((person) => [
          'known_person_detection',
          {
            title: `👋 ${person.name ?? 'Somebody'} is at the door`,
            message: `Recognised with a confidence of ${Math.round(person.confidence * 100)} %`,
            capture: withKnown ? picture : null,
            ...about(person),
          },
        ]);
      case 'NO_FACES_DETECTED':
        return [
          [
            'no_face_detection',
            { title: 'Doorbell', message: 'The doorbell rang, and no face was seen', capture: picture, eventId },
          ],
        ];
      case 'COMPONENT_ERROR':
        return [
          [
            'system_alerts',
            { title: '⚠️ System Alert: camera', message: 'The camera gave no picture when the doorbell rang', eventId },
          ],
        ];
    }
  }

  async #store(eventId: string, visit: Visit, notifications: readonly NewNotification[]): Promise<void> {
    const { timestamp, local } = now();
    const data: EventData = {
      faces: visit.faces.map(({ status, name, confidence, distance }) => ({ status, name, confidence, distance })),
      capture: visit.capture,
      local_time: local,
    };
    const event = {
      eventId,
      type: visit.type,
      timestamp,
      source: 'doorbell',
      priority: visit.type === 'FACE_BLACKLISTED' ? 'CRITICAL' : 'HIGH',
      confidence: visit.faces.length ? Math.max(...visit.faces.map((face) => face.confidence)) : null,
      correlationId: null,
      data: JSON.stringify(data),
    };
    // The press was acknowledged: a store that refuses for a moment is no reason to forget it.
    const deadline = performance.now() + STORE_DEADLINE_MS;
    for (;;) {
      try {
        await this.#system.storage.addEvent(event, visit.recognition, notifications);
        return;
      } catch (error) {
        if (performance.now() > deadline) throw error;
        await sleep(STORE_RETRY_MS);
      }
    }
  }
}

/** Several faces: the unwanted count more than the unknown, and those more than the known. */
function outcomeOf(counts: { readonly known: number; readonly unknown: number; readonly blacklisted: number }): {
  readonly type: EventType;
  readonly lamp: LampResult;
} {
  if (counts.blacklisted > 0) return { type: 'FACE_BLACKLISTED', lamp: 'alert' };
  if (counts.unknown > 0) return { type: 'FACE_UNKNOWN', lamp: 'unknown' };
  return counts.known > 0 ? { type: 'FACE_RECOGNIZED', lamp: 'known' } : { type: 'NO_FACES_DETECTED', lamp: 'idle' };
}
