import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { parseEnv } from 'node:util';
import { parsePythonLiteral, PyTuple, type PythonValue } from 'changeover/python';

export interface LegacySettings {
  readonly port: number;
  readonly doorbellPin: number;
  readonly ledPins: Readonly<Record<'red' | 'yellow' | 'green', number>>;
  readonly debounceMs: number;
  readonly faceTolerance: number;
  readonly blacklistTolerance: number;
  readonly notifyOnKnownVisitors: boolean;
  readonly includePhotoForKnown: boolean;
  readonly cameraResolution: readonly [number, number];
  readonly cameraRotation: number;
  readonly wantedList: { readonly enabled: boolean; readonly apiUrl: string; readonly maxEntries: number };
  readonly telegram: {
    readonly chatId: string;
    readonly additionalChatIds: readonly string[];
    readonly sendPhotos: boolean;
  };
}

/** The entry point forces the port to this when none is set. */
const DEFAULT_PORT = 8000;

/**
 * The settings of a legacy root, layered as the original does it: `config/settings.py` holds the defaults and the constants,
 * `.env` goes over them, and the process environment over both.
 */
export async function readSettings(root: string, environment = process.env): Promise<LegacySettings> {
  const python = await readOptional(path.join(root, 'config/settings.py'));
  const dotenv = parseEnv(await readOptional(path.join(root, '.env')));
  const defaults = environmentDefaults(python);
  const text = (key: string, otherwise: string) => environment[key] ?? dotenv[key] ?? defaults.get(key) ?? otherwise;
  const number = (key: string, otherwise: string) => {
    const value = Number(text(key, otherwise));
    if (!Number.isFinite(value)) throw new Error(`could not convert ${key} to a number: '${text(key, otherwise)}'`);
    return value;
  };
  // Only the one word switches a flag on; `1` and `yes` are off.
  const flag = (key: string, otherwise: string) => text(key, otherwise).toLowerCase() === 'true';

  const constants = assignments(python);
  const resolution = constants.get('CAMERA_RESOLUTION');
  const [width, height] = resolution instanceof PyTuple ? resolution.items.map(Number) : [];
  const telegram = assignments(await readOptional(path.join(root, 'config/credentials_telegram.py')));
  const others = telegram.get('ADDITIONAL_CHAT_IDS');
  return {
    port: number('PORT', String(DEFAULT_PORT)),
    doorbellPin: number('DOORBELL_PIN', '18'),
    ledPins: {
      red: number('RED_LED_PIN', '16'),
      yellow: number('YELLOW_LED_PIN', '20'),
      green: number('GREEN_LED_PIN', '21'),
    },
    debounceMs: number('DEBOUNCE_TIME', '2.0') * 1000,
    faceTolerance: number('FACE_TOLERANCE', '0.6'),
    blacklistTolerance: number('BLACKLIST_TOLERANCE', '0.5'),
    notifyOnKnownVisitors: flag('NOTIFY_ON_KNOWN_VISITORS', 'False'),
    includePhotoForKnown: flag('INCLUDE_PHOTO_FOR_KNOWN', 'False'),
    cameraResolution: [width ?? 1280, height ?? 720],
    cameraRotation: Number(constants.get('CAMERA_ROTATION') ?? 0),
    wantedList: {
      enabled: flag('FBI_UPDATE_ENABLED', 'True'),
      apiUrl: text('FBI_API_URL', 'https://api.fbi.gov/wanted/v1/list'),
      maxEntries: number('FBI_MAX_ENTRIES', '50'),
    },
    telegram: {
      chatId: asText(telegram.get('TELEGRAM_CHAT_ID')),
      additionalChatIds: Array.isArray(others) ? others.map(asText) : [],
      sendPhotos: telegram.get('SEND_PHOTOS') !== false,
    },
  };
}

function asText(value: PythonValue | undefined): string {
  return typeof value === 'string' || typeof value === 'number' || typeof value === 'bigint' ? String(value) : '';
}

/** The second argument of every `os.getenv('KEY', 'default')`. */
function environmentDefaults(python: string): Map<string, string> {
  const calls = python.matchAll(/os\.getenv\(\s*(['"])(\w+)\1\s*,\s*(['"])(.*?)\3\s*\)/g);
  return new Map(Array.from(calls, ([, , key = '', , value = '']) => [key, value]));
}

/** Every `NAME = literal` and `self.NAME = literal` on a line of its own; whatever is computed is left out. */
function assignments(python: string): Map<string, PythonValue> {
  const found = new Map<string, PythonValue>();
  for (const [, name = '', text = ''] of python.matchAll(/^[ \t]*(?:self\.)?([A-Z][A-Z0-9_]*)[ \t]*=[ \t]*(.+)$/gm)) {
    const value = literal(text) ?? literal(text.replace(/\s+#.*$/, ''));
    if (value) found.set(name, value.of);
  }
  return found;
}

function literal(text: string): { readonly of: PythonValue } | null {
  try {
    return { of: parsePythonLiteral(text) };
  } catch {
    return null; // computed, and therefore none of the constants that are read here
  }
}

async function readOptional(file: string): Promise<string> {
  return readFile(file, 'utf8').catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return '';
    throw error;
  });
}
