import path from 'node:path';
import type { Face, Faces } from '../shared/faces.ts';
import { stampOf } from '../shared/names.ts';
import type { Camera } from './camera.ts';
import { appendEvent, type EventType, type Identity } from './event-log.ts';
import type { FaceBook } from './face-book.ts';
import { isoNow, type Layout, writeDurably } from './files.ts';
import type { Led } from './led.ts';
import type { Notifier } from './notifier.ts';
import type { LegacySettings } from './settings.ts';

/** The parts of one system. */
export interface Parts {
  readonly places: Layout;
  readonly settings: LegacySettings;
  readonly faces: Faces;
  readonly book: FaceBook;
  readonly camera: Camera;
  readonly led: Led;
  readonly notifier: Notifier;
}

/** The button and what follows a press. */
export class Doorbell {
  readonly #parts: Parts;
  #lastPress = -Infinity;
  #isProcessing = false;

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  /**
   * A press. One within the debounce time of the last is dropped, and so is one that comes while another is processed, both
   * without a word. Returns at once: the event's line is written later.
   */
  press(): void {
    const now = performance.now();
    if (now - this.#lastPress < this.#parts.settings.debounceMs) return;
    this.#lastPress = now;
    if (this.#isProcessing) return;
    this.#isProcessing = true;
    this.#parts.led.startProcessing();
    void this.#process().then((result) => {
      this.#isProcessing = false;
      this.#parts.led.endProcessing(result);
    });
  }

  async #process(): Promise<'known' | 'unknown' | 'alert' | 'error' | 'idle'> {
    try {
      return await this.#answer();
    } catch (error) {
      console.error('Doorbell:', error);
      return 'error';
    }
  }

  async #answer() {
    const { places, faces, camera, notifier } = this.#parts;
    const frame = await camera.capture();
    if (!frame) {
      notifier.send('The camera gave no picture when the doorbell rang', 'normal');
      await this.#log('CAPTURE_FAILURE', [], null);
      return 'error' as const;
    }
    const stamp = stampOf(new Date());
    const capture = path.join(places.captures, `visitor_${stamp}.jpg`);
    await writeDurably(places, capture, frame);

    const found = (await faces.analyse(frame)).faces.map((face) => ({
      face,
      who: this.#parts.book.identify(face.encoding),
    }));
    for (const [index, { face, who }] of found.entries()) await this.#keepCrop(face, who, `${stamp}_${index + 1}`);
    const identities = found.map(({ who }) => who);
    const response = responseTo(identities);
    this.#notify(response, identities, capture);
    await this.#log(response.type, identities, capture);
    return response.led;
  }

  /** The crops of unwanted people lie with the unknown, where the page offers them for labelling. */
  async #keepCrop({ crop }: Face, { status, name }: Identity, suffix: string): Promise<void> {
    const { places } = this.#parts;
    const folder = status === 'known' ? places.croppedKnown : places.croppedUnknown;
    const who = (name ?? 'unknown').toLowerCase().replaceAll(' ', '_').replaceAll(path.sep, '_');
    await writeDurably(places, path.join(folder, `${who}_${suffix}.jpg`), crop);
  }

  #notify({ type }: Response, faces: readonly Identity[], capture: string): void {
    const { notifier, settings } = this.#parts;
    const names = (status: Identity['status']) =>
      faces
        .filter((face) => face.status === status)
        .map(({ name }) => name)
        .join(', ');
    if (type === 'BLACKLIST_ALERT') {
      notifier.send(`Alert: ${names('blacklisted')} is at the door`, 'urgent', capture);
    } else if (type === 'UNKNOWN_VISITOR') {
      notifier.send('Somebody unknown is at the door', 'normal', capture);
    } else if (type === 'NO_FACES') {
      notifier.send('The doorbell rang, and no face was seen', 'low', capture);
    } else if (settings.notifyOnKnownVisitors) {
      notifier.send(`${names('known')} is at the door`, 'low', settings.includePhotoForKnown ? capture : null);
    }
  }

  async #log(type: EventType, faces: readonly Identity[], capturePath: string | null): Promise<void> {
    await appendEvent(this.#parts.places.eventsLog, { timestamp: isoNow(), type, faces, capturePath });
  }
}

interface Response {
  readonly type: EventType;
  readonly led: 'known' | 'unknown' | 'alert' | 'idle';
}

/** Several faces: the unwanted count more than the unknown, and those more than the known. */
function responseTo(faces: readonly Identity[]): Response {
  const has = (status: Identity['status']) => faces.some((face) => face.status === status);
  if (has('blacklisted')) return { type: 'BLACKLIST_ALERT', led: 'alert' };
  if (has('unknown')) return { type: 'UNKNOWN_VISITOR', led: 'unknown' };
  return has('known') ? { type: 'KNOWN_VISITOR', led: 'known' } : { type: 'NO_FACES', led: 'idle' };
}
