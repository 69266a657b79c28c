import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { parseEnv } from 'node:util';
import {
  ORCHESTRATOR_ENVIRONMENT,
  orchestratorSettings,
  type Reload,
  RuntimeError,
  Secret,
  Settings as Layers,
} from '@changeover/runtime';
import { z } from 'zod';
import { CHANNELS } from './notifications/channel.ts';
import { type Profile, profileOf, PROFILES } from './profiles.ts';

const flag = z.boolean();
const count = z.int().min(0);
const share = z.number().min(0).max(1);
const percent = z.number().min(0).max(100);
/** BCM number of a pin. */
const pin = z.int().min(1).max(40);
const seconds = z.number().min(0);
const timeout = z.number().min(1);
const MAX_PORT = 65_535;
/** Also `lavfi:`, pictures that ffmpeg makes up itself. */
const CAMERA_ADDRESS = /^(?:rtsps?:\/\/|https?:\/\/|\/dev\/|lavfi:)/;
const channels = (...names: (typeof CHANNELS)[number][]) => z.array(z.enum(CHANNELS)).default(names);
/** What a broker takes as the beginning of a topic. */
const topic = z.string().regex(/^[^+#/]+(?:\/[^+#/]+)*$/);
/** An address that everybody may read. */
const address = (protocol: RegExp) =>
  z
    .url({ protocol })
    .refine((url) => !URL.canParse(url) || new URL(url).password === '', 'a password belongs into config/secrets.env');
const size = z.tuple([z.int().min(1), z.int().min(1)]);

/** A section whose missing keys, and whose absence, mean the defaults; a key that does not exist is an error. */
function section<Shape extends z.core.$ZodLooseShape>(shape: Shape) {
  return z.strictObject(shape).prefault({} as z.input<z.ZodObject<Shape, z.core.$strict>>);
}

/** What the next press goes by when the file changes; everything else holds from the next start on. */
const live = <Schema extends z.ZodType>(schema: Schema): Schema => schema.meta({ restart: false });

const alert = (priority: 'info' | 'warning' | 'critical', enabled = true) =>
  section({
    enabled: live(flag.default(enabled)),
    priority: live(z.enum(['info', 'warning', 'critical']).default(priority)),
  });

/**
 * `config/pipeline.json`: every option of the new architecture. Durations are seconds, tolerances are distances of encodings.
 * The README says which keys this form of the system acts on.
 */
export const PipelineConfig = section({
  /** Values for the machine it runs on, weaker than those of this file. DOORBELL_PROFILE goes over it. */
  profile: z.enum(PROFILES).default('none'),
  frame_capture: section({
    enabled: flag.default(true),
    /** A camera: `/dev/video0`, `rtsp://…` or `http://…`; null: pictures of a folder. One with credentials is CAMERA_URL, a secret. */
    source: z
      .string()
      .regex(CAMERA_ADDRESS)
      .refine((address) => !/\/\/[^/]*@/.test(address), 'credentials belong into CAMERA_URL of config/secrets.env')
      .nullable()
      .default(null),
    /** Whether an `http://` source gives one picture for each request. */
    snapshot: flag.default(false),
    fps: z.number().min(1).max(60).default(10),
    /** Width and height in pixels. */
    resolution: size.default([640, 480]),
    rotation: z.union([z.literal(0), z.literal(90), z.literal(180), z.literal(270)]).default(0),
    brightness: percent.default(50),
    contrast: percent.default(50),
    ring_buffer_size: z.int().min(1).max(1000).default(30),
    /** JPEG quality. */
    quality: z.int().min(1).max(100).default(85),
    format: z.literal('jpeg').default('jpeg'),
    /** Attempts to get a picture after a press, and the pause between them. */
    retry_attempts: z.int().min(1).default(3),
    retry_delay: seconds.default(0.5),
    capture_fps: z.number().min(1).max(60).default(30),
    burst_count: count.default(5),
    burst_interval: seconds.default(0.2),
    use_threading: flag.default(true),
    buffer_timeout: timeout.default(1),
  }),
  motion_detection: section({
    enabled: flag.default(false),
    sensitivity: share.default(0.1),
    min_area: count.default(500),
    max_area: count.default(50_000),
    blur_kernel: count.default(21),
    threshold: count.default(25),
    motion_threshold: count.default(25),
    bg_subtractor: z.string().default('MOG2'),
    motion_history_size: count.default(10),
    min_motion_duration: seconds.default(0.5),
    max_static_duration: seconds.default(30),
    frame_resize_factor: share.default(0.5),
    skip: count.default(0),
    queue_size: count.default(100),
    timeout: timeout.default(10),
  }),
  face_detection: section({
    worker_count: z.int().min(1).max(32).default(2),
    detector_type: z.enum(['cpu', 'gpu', 'edgetpu', 'mock']).default('cpu'),
    model: z.enum(['hog', 'cnn']).default('hog'),
    confidence_threshold: share.default(0.5),
    /** Width and height in pixels. */
    min_face_size: size.default([30, 30]),
    max_queue_size: count.default(100),
    job_timeout: timeout.default(30),
    timeout: timeout.default(10),
    doorbell_priority: count.default(1),
    continuous_priority: count.default(2),
  }),
  face_recognition: section({
    enabled: live(flag.default(true)),
    worker_count: z.int().min(1).max(32).default(2),
    encoding_model: z.enum(['small', 'large']).default('small'),
    /** Largest distance at which somebody is known, and at which somebody is unwanted. */
    tolerance: live(share.default(0.6)),
    blacklist_tolerance: live(share.default(0.5)),
    min_confidence: share.default(0.4),
    known_faces_path: z.string().default('data/known_faces'),
    blacklist_faces_path: z.string().default('data/blacklist_faces'),
    cropped_faces_path: z.string().default('data/cropped_faces'),
    max_queue_size: count.default(50),
    timeout: timeout.default(15),
    similarity_metric: z.literal('euclidean').default('euclidean'),
    backup_interval_hours: count.default(24),
  }),
  event_processing: section({
    max_queue_size: count.default(1000),
    enable_telegram: flag.default(true),
    enable_web_events: flag.default(true),
    enable_database: flag.default(true),
    /** Null keeps events for ever. */
    event_retention_days: count.nullable().default(null),
    cleanup_interval_hours: count.default(24),
    worker_threads: z.int().min(1).max(32).default(4),
    max_concurrent_enrichments: count.default(10),
  }),
  storage: section({
    /** SQLite file, unless DATABASE_URL names a Postgres. */
    database_path: z.string().default('data/pipeline.db'),
    capture_path: z.string().default('data/captures'),
    log_path: z.string().default('data/logs'),
    /** Pictures of visits are removed after that many days; null keeps them for ever. */
    keep_images_days: count.nullable().default(null),
    compress_images: flag.default(false),
    backup_interval_hours: count.default(24),
    log_level: z.enum(['DEBUG', 'INFO', 'WARNING', 'ERROR', 'CRITICAL']).default('INFO'),
    /** A number with KB, MB or GB. */
    log_rotation_size: z
      .string()
      .regex(/^\d+(?:\.\d+)?\s*(?:[KMG]?B)$/)
      .default('10MB'),
    log_backup_count: count.default(5),
    log_retention_days: count.default(30),
  }),
  notifications: section({
    telegram_enabled: flag.default(true),
    telegram_timeout: timeout.default(30),
    /** Attempts to deliver one message, and the pause between them. */
    retry_attempts: z.int().min(1).default(3),
    retry_delay: seconds.default(5),
    include_images: live(flag.default(true)),
    /** Also with messages about people who are known. */
    include_images_for_known: live(flag.default(false)),
    max_image_bytes: count.default(1_048_576),
    /** Chats that get critical messages too. */
    emergency_contacts: z.array(z.string()).default([]),
    debounce_period: seconds.default(5),
    /** Alerts of one type that come within the window after one that was sent become one message at its end; critical ones never wait. */
    aggregation_enabled: flag.default(false),
    aggregation_window: seconds.default(30),
    /** Critical alerts go to all channels that are configured, warnings to the primary ones, the rest to the minimal ones. */
    channels: section({
      primary: channels('telegram', 'mqtt', 'webhook', 'web'),
      minimal: channels('telegram', 'mqtt', 'web'),
    }),
    /** A message waits that long for a channel that is away or asks for a pause. */
    expire_after: seconds.default(3600),
    /** Null: no MQTT. The password is MQTT_PASSWORD in config/secrets.env. */
    mqtt: section({
      url: address(/^(?:mqtts?|wss?)$/)
        .nullable()
        .default(null),
      username: z.string().nullable().default(null),
      /** Names this doorbell to the broker and to Home Assistant. */
      client_id: z
        .string()
        .regex(/^[\w-]{1,64}$/)
        .default('doorbell'),
      device_name: z.string().default('Doorbell'),
      topic: topic.default('doorbell'),
      discovery_prefix: topic.default('homeassistant'),
      timeout: timeout.default(10),
      reconnect_delay: z.number().positive().default(1),
    }),
    /** Null: no webhook. The shared secret is WEBHOOK_SECRET in config/secrets.env. */
    webhook: section({
      url: address(/^https?$/)
        .nullable()
        .default(null),
      timeout: timeout.default(10),
      /** The pause doubles with each attempt. */
      retry_attempts: z.int().min(1).default(6),
      retry_delay: seconds.default(1),
      max_retry_delay: seconds.default(300),
    }),
    alerts: section({
      blacklist_detection: alert('critical'),
      known_person_detection: alert('info'),
      unknown_person_detection: alert('warning'),
      no_face_detection: alert('info'),
      system_alerts: alert('warning'),
    }),
    rate_limiting: section({
      enabled: flag.default(false),
      max_per_minute: count.default(10),
      max_per_hour: count.default(100),
      /** That many within ten seconds pass before the limits are asked. */
      burst_allowance: count.default(3),
      /** So long nothing of a kind leaves that has met a limit. */
      cooldown_period: seconds.default(60),
    }),
    priority_bypass_rate_limit: flag.default(true),
  }),
  hardware: section({
    doorbell_pin: pin.default(18),
    led_pins: section({ red: pin.default(16), yellow: pin.default(20), green: pin.default(21) }),
    /** The one place for it, in seconds: a press this soon after the last one is dropped. */
    button_debounce_time: live(seconds.default(5)),
    camera_type: z.enum(['auto', 'picamera', 'opencv', 'mock']).default('auto'),
    camera_index: count.default(0),
    camera_max_index: count.default(5),
    camera_warmup: seconds.default(2),
    gpio_polling_rate: seconds.default(0.1),
  }),
  wanted_list: section({
    /** The public list of wanted people, read once a day into the blacklist. */
    enabled: flag.default(false),
    api_url: z.url().default('https://api.fbi.gov/wanted/v1/list'),
    max_entries: count.default(50),
  }),
  web_interface: section({
    host: z.string().default('127.0.0.1'),
    port: z.int().min(0).max(MAX_PORT).default(5000),
  }),
  /** What the orchestrator is told. */
  monitoring: section(orchestratorSettings.shape),
}).meta({ restart: true });

export type Settings = z.output<typeof PipelineConfig>;

/** What does not belong into a file that everybody may read. */
export interface Secrets {
  readonly telegramBotToken: Secret | null;
  readonly telegramChatId: string | null;
  /** A camera whose address has credentials; it wins over `frame_capture.source`. */
  readonly cameraUrl: string | null;
  readonly mqttPassword: Secret | null;
  readonly webhookSecret: Secret | null;
  /** A Postgres; null means SQLite. */
  readonly databaseUrl: string | null;
}

export interface Configuration {
  readonly settings: Settings;
  readonly secrets: Secrets;
  readonly profile: Profile;
  /** Where each setting came from. */
  readonly layers: Pick<Layers<typeof PipelineConfig>, 'current' | 'describe' | 'watch'>;
}

/** Names that the environment uses, by setting. */
const ENVIRONMENT: Readonly<Record<string, readonly string[]>> = {
  profile: ['DOORBELL_PROFILE'],
  'web_interface.port': ['PORT'],
  'web_interface.host': ['DOORBELL_HOST'],
  ...Object.fromEntries(Object.entries(ORCHESTRATOR_ENVIRONMENT).map(([name, own]) => [`monitoring.${name}`, own])),
};

/**
 * Reads `config/pipeline.json` and `config/secrets.env` of a root; a missing file means defaults. The settings of {@link ENVIRONMENT} and the
 * secrets may also come from the environment, which wins; a profile goes below the file.
 *
 * @throws Error that names the file and every key that is wrong.
 */
export async function readConfiguration(root: string, environment = process.env): Promise<Configuration> {
  const file = path.join(root, 'config/pipeline.json');
  const { profile: asked } = layered(file, z.object({ profile: PipelineConfig.unwrap().shape.profile }), {
    environment,
    aliases: { profile: ENVIRONMENT['profile'] ?? [] },
  }).current;
  const profile = profileOf(asked);
  const layers = layered(file, PipelineConfig, {
    environment,
    aliases: ENVIRONMENT,
    ...(profile.values !== null && {
      profile: profile.applied,
      profiles: { [profile.applied]: { ...profile.values } },
    }),
  });
  const settings = structuredClone(layers.current);
  const stored = parseEnv((await readOptional(path.join(root, 'config/secrets.env'))) ?? '');
  const stated = (key: string) => environment[key] ?? stored[key] ?? null;
  const hidden = (key: string) => {
    const value = stated(key);
    return value === null || value === '' ? null : new Secret(value);
  };
  const cameraUrl = stated('CAMERA_URL');
  if (cameraUrl !== null && !CAMERA_ADDRESS.test(cameraUrl))
    throw new Error('CAMERA_URL is no address of a camera: it begins with rtsp://, http:// or /dev/');
  return {
    settings,
    profile,
    layers,
    secrets: {
      telegramBotToken: hidden('TELEGRAM_BOT_TOKEN'),
      telegramChatId: stated('TELEGRAM_CHAT_ID'),
      mqttPassword: hidden('MQTT_PASSWORD'),
      webhookSecret: hidden('WEBHOOK_SECRET'),
      cameraUrl,
      databaseUrl: stated('DATABASE_URL'),
    },
  };
}

/**
 * Takes over, until `signal` aborts, what the file comes to say of the settings that the next press goes by. A file that is wrong changes nothing.
 *
 * @param onChange What holds now, and what will at the next start; or why nothing changed.
 */
export function watchSettings(
  { settings, layers }: Configuration,
  onChange: (result: Reload | RuntimeError) => void,
  signal: AbortSignal,
): void {
  layers.watch((result) => {
    if (!(result instanceof RuntimeError))
      for (const name of result.changed) setAt(settings, name.split('.'), valueAt(layers.current, name.split('.')));
    onChange(result);
  }, signal);
}

type Tree = Record<string, unknown>;

function valueAt(tree: unknown, names: readonly string[]): unknown {
  return names.reduce((value, name) => (value as Tree)[name], tree);
}

function setAt(tree: unknown, names: readonly string[], value: unknown): void {
  (valueAt(tree, names.slice(0, -1)) as Tree)[names.at(-1) ?? ''] = value;
}

/** How many pictures are searched, and how many compared, at a time: one after the other, unless a profile says otherwise. */
export function workersOf({ profile, settings }: Pick<Configuration, 'profile' | 'settings'>) {
  if (profile.values === null) return { detection: 1, recognition: 1 };
  return { detection: settings.face_detection.worker_count, recognition: settings.face_recognition.worker_count };
}

function layered<Schema extends z.ZodType>(
  file: string,
  schema: Schema,
  options: Pick<Parameters<typeof Layers.load>[0], 'environment' | 'aliases' | 'profile' | 'profiles'>,
): Layers<Schema> {
  try {
    return Layers.load({ schema, file, ...options });
  } catch (error) {
    if (!(error instanceof RuntimeError) || error.code !== 'RUN_CONFIG_INVALID') throw error;
    throw new Error(`${file}: ${error.message}`, { cause: error });
  }
}

async function readOptional(file: string): Promise<string | null> {
  return readFile(file, 'utf8').catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  });
}
