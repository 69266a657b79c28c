import { existsSync, readFileSync } from 'node:fs';
import { availableParallelism, totalmem } from 'node:os';

/** `none` changes nothing, `auto` looks at the hardware. */
export const PROFILES = ['none', 'auto', 'raspberry_pi', 'large'] as const;
export type ProfileName = (typeof PROFILES)[number];

const GIB = 1024 ** 3;
const SMALL_BYTES = 2 * GIB;
const MIDDLE_BYTES = 4 * GIB;
/** Where Linux names the board. */
const MODEL_FILE = '/proc/device-tree/model';

export interface Hardware {
  /** That this process may use. */
  readonly cores: number;
  /** That this process may use: of the machine, or of its container. */
  readonly memoryBytes: number;
  /** Such as `Raspberry Pi 4 Model B Rev 1.4`; null where the machine does not tell. */
  readonly model: string | null;
}

/** Workers of both stages together: up to 2, 4, 8, and more. */
export type PowerClass = 'low_power' | 'balanced' | 'performance' | 'high_performance';

/** What a profile sets, between the defaults and the file. */
export interface ProfileValues {
  readonly face_detection: { readonly worker_count: number; readonly max_queue_size?: number };
  readonly face_recognition: { readonly worker_count: number; readonly max_queue_size?: number };
  readonly motion_detection?: { readonly enabled: boolean };
}

export interface Profile {
  readonly asked: ProfileName;
  /** `none`, `raspberry_pi`, `large` or, for other hardware, `fitted`. */
  readonly applied: Exclude<ProfileName, 'auto'> | 'fitted';
  readonly power_class: PowerClass | null;
  /** Why this one, in a sentence. */
  readonly because: string;
  readonly values: ProfileValues | null;
}

const RASPBERRY_PI: ProfileValues = {
  face_detection: { worker_count: 1, max_queue_size: 50 },
  face_recognition: { worker_count: 1, max_queue_size: 25 },
  // Faces are searched for where something moves, and not all the time.
  motion_detection: { enabled: true },
};
const LARGE: ProfileValues = {
  face_detection: { worker_count: 4, max_queue_size: 100 },
  face_recognition: { worker_count: 3, max_queue_size: 50 },
};

export function profileOf(asked: ProfileName, machine: Hardware = hardware()): Profile {
  const { cores, memoryBytes, model } = machine;
  const shown = `${cores} cores and ${(memoryBytes / GIB).toFixed(1)} GiB`;
  const chosen = (applied: Profile['applied'], because: string, values: ProfileValues): Profile => ({
    asked,
    applied,
    power_class: powerClass(values),
    because,
    values,
  });
  switch (asked) {
    case 'none':
      return { asked, applied: 'none', power_class: null, because: 'no profile was asked for', values: null };
    case 'raspberry_pi':
      return chosen('raspberry_pi', 'it was asked for', RASPBERRY_PI);
    case 'large':
      return chosen('large', 'it was asked for', LARGE);
    case 'auto':
      if (model?.includes('Raspberry Pi') === true) return chosen('raspberry_pi', `this is a ${model}`, RASPBERRY_PI);
      return chosen('fitted', `this machine has ${shown}`, fitted(machine));
  }
}

export function hardware(modelFile = MODEL_FILE): Hardware {
  const limit = process.constrainedMemory();
  return {
    cores: availableParallelism(),
    memoryBytes: limit > 0 ? Math.min(limit, totalmem()) : totalmem(),
    // Device trees end their texts with a zero byte.
    model: existsSync(modelFile) ? readFileSync(modelFile, 'utf8').replaceAll('\0', '').trim() : null,
  };
}

function fitted({ cores, memoryBytes }: Hardware): ProfileValues {
  const [detection, recognition] =
    cores <= 2
      ? [1, 1]
      : cores <= 4
        ? [2, 1]
        : [Math.min(4, Math.floor(cores / 2)), Math.min(3, Math.floor(cores / 3))];
  const queues = memoryBytes < SMALL_BYTES ? [25, 15] : memoryBytes < MIDDLE_BYTES ? [50, 30] : [100, 50];
  const [faces = 0, people = 0] = queues;
  return {
    face_detection: { worker_count: detection, max_queue_size: faces },
    face_recognition: { worker_count: recognition, max_queue_size: people },
    ...((cores <= 2 || memoryBytes < SMALL_BYTES) && { motion_detection: { enabled: true } }),
  };
}

function powerClass({ face_detection, face_recognition }: ProfileValues): PowerClass {
  const workers = face_detection.worker_count + face_recognition.worker_count;
  if (workers <= 2) return 'low_power';
  if (workers <= 4) return 'balanced';
  return workers <= 8 ? 'performance' : 'high_performance';
}
