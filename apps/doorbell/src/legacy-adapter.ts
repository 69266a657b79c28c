import { access } from 'node:fs/promises';
import path from 'node:path';
import type { Orchestrated, SystemHealth } from '@changeover/runtime';
import type { Face } from '../shared/faces.ts';
import { EVENT_TYPES, now, shownEvent, type RecognisedFace } from './events.ts';
import { requireName } from './http.ts';
import { learn } from './learn.ts';
import { recognise } from './recognition/recognise.ts';
import { sendTest } from './routes/doorbell.ts';
import { knownFaces } from './routes/known-faces.ts';
import { cameraInfo, faceStats, gpioInfo, statusOf } from './routes/status.ts';
import type { Settings } from './settings.ts';
import type { System } from './system.ts';

const RECENT = 10;
const EVENTS_AT_A_TIME = 50;
const MS_PER_SECOND = 1000;
const BYTES = { KB: 1024, MB: 1024 ** 2, GB: 1024 ** 3, B: 1 } as const;

/** A visit whose picture is still there. */
export interface RecentCapture {
  /** Local time without a zone, ISO 8601. */
  readonly timestamp: string;
  /** As in the legacy's log: `KNOWN_VISITOR`, `UNKNOWN_VISITOR`, `BLACKLIST_ALERT`, `NO_FACES`, `CAPTURE_FAILURE`. */
  readonly event_type: string;
  readonly faces: readonly RecognisedFace[];
  readonly filename: string;
  /** Absolute path of the JPEG. */
  readonly capture_path: string;
}

/** What `GET /api/status` answers, and how the whole is. */
export interface LegacyStatus extends Partial<Awaited<ReturnType<typeof statusOf>>> {
  /** `offline`, and without the parts, while the system does not run. */
  readonly status: 'online' | 'offline';
  /** Local time without a zone, ISO 8601. */
  readonly timestamp: string;
  readonly orchestrator: {
    readonly state: SystemHealth['state'];
    /** Seconds. */
    readonly uptime: number;
    readonly error_count: number;
    readonly warning_count: number;
    readonly last_error: string | null;
    /** 0–1. */
    readonly performance_score: number;
  };
  readonly pipeline: SystemHealth['pipelineStatus'];
}

/** Rings. `event_id` is null where the press was dropped, because it came too soon after the last one. */
export async function press({ bell }: System) {
  return { status: 'success' as const, message: 'Doorbell triggered', event_id: await bell.press() };
}

/**
 * The doorbell as programs of the legacy know it: its methods and attributes, answered by the system that runs now, also by the one after a
 * recovery. What writes or uses a device throws `PassiveSide` on a passive side, and `RuntimeError` RUN_RUNTIME_STATE before the first start.
 *
 * @example
 * const legacy = orchestrate({ root }).getLegacyInterface();
 * await legacy.start();
 * await legacy.onDoorbellPressed();
 * const [newest] = await legacy.getRecentCaptures();
 */
export class LegacyAdapter {
  readonly faceManager: FaceManager;
  readonly camera: CameraManager;
  readonly gpio: GpioManager;
  readonly notifier: Notifier;
  readonly #own: Orchestrated<System>;

  constructor(own: Orchestrated<System>) {
    this.#own = own;
    const system = () => own.system;
    this.faceManager = new FaceManager(system);
    this.camera = new CameraManager(system);
    this.gpio = new GpioManager(system);
    this.notifier = new Notifier(system);
  }

  /** Resolves when the doorbell runs: unlike the legacy's, it returns. */
  start(): Promise<void> {
    return this.#own.start();
  }

  /** Refuses new work, and resolves when everything that was accepted is stored and all has stopped. */
  async stop(): Promise<void> {
    if (this.#own.getHealthStatus().state === 'running') await this.#own.system.activity.passivate();
    await this.#own.stop();
  }

  /** What the button calls. The press is on the disk when this resolves; its event has the id. */
  onDoorbellPressed(): ReturnType<typeof press> {
    return press(this.#own.system);
  }

  /** The newest visits that have a picture, newest first. @param limit Default 10. */
  async getRecentCaptures(limit = RECENT): Promise<RecentCapture[]> {
    const { storage, places } = this.#own.system;
    const found: RecentCapture[] = [];
    let before = null;
    for (;;) {
      const events = await storage.eventsBefore(EVENT_TYPES, EVENTS_AT_A_TIME, before);
      for (const event of events) {
        if (found.length >= limit) return found;
        const shown = shownEvent(event, places.captures);
        const file = shown?.capture_path ?? null;
        if (shown === null || file === null || !(await isThere(file))) continue;
        found.push({ ...shown, filename: path.basename(file), capture_path: file });
      }
      const last = events.at(-1);
      if (last === undefined || events.length < EVENTS_AT_A_TIME) return found;
      before = last;
    }
  }

  async getSystemStatus(): Promise<LegacyStatus> {
    const { state, uptime, errorCount, warningCount, lastError, performanceScore, pipelineStatus } =
      this.#own.getHealthStatus();
    const isOnline = state === 'running';
    return {
      status: isOnline ? 'online' : 'offline',
      timestamp: now().local,
      ...(isOnline && (await statusOf(this.#own.system))),
      orchestrator: {
        state,
        uptime,
        error_count: errorCount,
        warning_count: warningCount,
        last_error: lastError,
        performance_score: performanceScore,
      },
      pipeline: pipelineStatus,
    };
  }

  /** The settings that are in force, by the legacy's names and in its units. */
  get settings(): Readonly<LegacySettings> {
    return legacySettings(this.#own.system);
  }
}

class FaceManager {
  readonly #system: () => System;

  constructor(system: () => System) {
    this.#system = system;
  }

  /** `{ known_faces, blacklist_faces, known_names, blacklist_names }`; the numbers and names are of encodings, of which a person may have several. */
  getStats(): ReturnType<typeof faceStats> {
    return faceStats(this.#system());
  }

  /** People, each once, with the path of the newest picture at this server; null where there is none. */
  getKnownFaces(): ReturnType<typeof knownFaces> {
    return knownFaces(this.#system());
  }

  /** Encodings of known people. */
  async getKnownFacesCount(): Promise<number> {
    return (await this.getStats()).known_faces;
  }

  /** Encodings of unwanted people. */
  async getBlacklistFacesCount(): Promise<number> {
    return (await this.getStats()).blacklist_faces;
  }

  /** Faces of a JPEG or PNG, the surest first: `box` in pixels, `score` 0–1, `encoding` of 128 numbers, `crop` as JPEG. */
  async detectFaces(image: Uint8Array): Promise<readonly Face[]> {
    return (await this.#system().faces.analyse(image)).faces;
  }

  /** Whom an encoding of 128 numbers belongs to; `confidence` is 1 − `distance`, and 0 with the distance null for the unknown. */
  async identifyFace(encoding: ArrayLike<number>): Promise<RecognisedFace> {
    const { gallery, settings } = this.#system();
    const { tolerance: face, blacklist_tolerance: blacklist } = settings.face_recognition;
    const { status, name, confidence, distance } = recognise(encoding, await gallery.current(), { face, blacklist });
    return { status, name, confidence, distance };
  }

  /** Learns the first face of a JPEG. @throws HttpError 400 where there is none, and where nothing is left of the name. */
  addKnownFace(name: string, jpeg: Uint8Array): ReturnType<typeof learn> {
    const system = this.#system();
    return system.activity.run(() => learn(system, requireName(name), jpeg));
  }

  /** Forgets a person with all encodings; false where there is none of that name. */
  removeKnownFace(name: string): Promise<boolean> {
    const { activity, storage } = this.#system();
    return activity.run(() => storage.removePerson(`known:${name}`));
  }
}

class CameraManager {
  readonly #system: () => System;

  constructor(system: () => System) {
    this.#system = system;
  }

  /** `{ camera_type, initialized, resolution: [width, height] in pixels, rotation in degrees }`. */
  getCameraInfo(): ReturnType<typeof cameraInfo> {
    return cameraInfo(this.#system());
  }

  /** A JPEG of now; null where all attempts gave none. */
  captureImage(): Promise<Uint8Array | null> {
    const { activity, camera } = this.#system();
    return activity.run(() => camera.capture());
  }
}

class GpioManager {
  readonly #system: () => System;

  constructor(system: () => System) {
    this.#system = system;
  }

  /** `{ doorbell_pin, doorbell_state, initialized, led_pins, led_states }`; pins are BCM numbers. */
  getGpioInfo(): ReturnType<typeof gpioInfo> {
    return gpioInfo(this.#system());
  }

  /**
   * Shows `idle`, `processing`, `known`, `unknown`, `alert`, `error` or `off`; any other word is off.
   *
   * @param seconds Idle again after that time. Default: it stays.
   */
  setStatusLed(status: string, seconds?: number): Promise<void> {
    const { activity, lamp } = this.#system();
    return activity.run(() => {
      lamp.show(status, seconds === undefined ? undefined : seconds * MS_PER_SECOND);
      return Promise.resolve();
    });
  }
}

class Notifier {
  readonly #system: () => System;

  constructor(system: () => System) {
    this.#system = system;
  }

  /** Stores and sends one message; true when it was delivered. @param priority `low`, `normal` (the default) or `urgent`. */
  sendTestNotification(message: string, priority: 'low' | 'normal' | 'urgent' = 'normal'): Promise<boolean> {
    const system = this.#system();
    return system.activity.run(() => sendTest(system, message, priority));
  }
}

/** Durations are seconds, tolerances are distances of encodings, pins are BCM numbers, folders are absolute paths. */
export type LegacySettings = ReturnType<typeof legacySettings>;

function legacySettings({ settings, places, root }: System) {
  const { hardware, frame_capture: camera, face_recognition: recognition, notifications, storage } = settings;
  return Object.freeze({
    DOORBELL_PIN: hardware.doorbell_pin,
    STATUS_LED_PINS: hardware.led_pins,
    DEBOUNCE_TIME: hardware.button_debounce_time,
    FACE_RECOGNITION_TOLERANCE: recognition.tolerance,
    BLACKLIST_TOLERANCE: recognition.blacklist_tolerance,
    /** Pixels of the shorter side. */
    MIN_FACE_SIZE: Math.min(...settings.face_detection.min_face_size),
    NOTIFY_ON_KNOWN_VISITORS: notifications.alerts.known_person_detection.enabled,
    INCLUDE_PHOTO_FOR_KNOWN: notifications.include_images_for_known,
    FBI_API_URL: settings.wanted_list.api_url,
    FBI_UPDATE_ENABLED: settings.wanted_list.enabled,
    FBI_MAX_ENTRIES: settings.wanted_list.max_entries,
    MAX_CAPTURE_ATTEMPTS: camera.retry_attempts,
    CAPTURE_RETRY_DELAY: camera.retry_delay,
    CAMERA_RESOLUTION: camera.resolution,
    CAMERA_ROTATION: camera.rotation,
    CAMERA_BRIGHTNESS: camera.brightness,
    CAMERA_CONTRAST: camera.contrast,
    OPENCV_CAMERA_MAX_INDEX_TO_TRY: hardware.camera_max_index,
    REQUIRE_FACE_FOR_CAPTURE: false,
    LOG_LEVEL: storage.log_level,
    /** Bytes. */
    MAX_LOG_FILE_SIZE: bytesOf(storage.log_rotation_size),
    LOG_BACKUP_COUNT: storage.log_backup_count,
    PROJECT_ROOT: root,
    DATA_DIR: path.join(root, 'data'),
    KNOWN_FACES_DIR: places.known,
    BLACKLIST_FACES_DIR: places.blacklist,
    CAPTURES_DIR: places.captures,
    LOGS_DIR: places.logs,
    CROPPED_FACES_DIR: path.dirname(places.croppedKnown),
  });
}

function bytesOf(size: Settings['storage']['log_rotation_size']): number {
  const [, unit = 'B'] = /([KMG]?B)$/.exec(size) ?? [];
  return Math.round(Number.parseFloat(size) * BYTES[unit as keyof typeof BYTES]);
}

async function isThere(file: string): Promise<boolean> {
  return access(file).then(
    () => true,
    () => false,
  );
}
