import path from 'node:path';
import { dotenv, jsonFile, pythonModule, settings, type SettingsPort } from 'changeover';
import { PipelineConfig } from '../src/settings.ts';

const MEGABYTE = 1024 * 1024;

/** Every key of the three places in which the legacy keeps its settings, and what becomes of it. */
export function doorbellSettings(legacyRoot: string, nextRoot: string, nextPort: number): SettingsPort {
  return settings({
    from: [
      pythonModule(path.join(legacyRoot, 'config/settings.py'), { class: 'Settings' }),
      dotenv(path.join(legacyRoot, '.env'), { optional: true }),
      pythonModule(path.join(legacyRoot, 'config/credentials_telegram.py')),
    ],
    to: jsonFile(path.join(nextRoot, 'config/pipeline.json')),
    secrets: dotenv(path.join(nextRoot, 'config/secrets.env')),
    schema: PipelineConfig,
    map: {
      DOORBELL_PIN: 'hardware.doorbell_pin',
      RED_LED_PIN: 'hardware.led_pins.red',
      YELLOW_LED_PIN: 'hardware.led_pins.yellow',
      GREEN_LED_PIN: 'hardware.led_pins.green',
      // Seconds on both sides, in one place: an absent key stays the legacy's 2 s and does not become 5 s.
      DEBOUNCE_TIME: 'hardware.button_debounce_time',

      CAMERA_RESOLUTION: 'frame_capture.resolution',
      CAMERA_ROTATION: 'frame_capture.rotation',
      CAMERA_BRIGHTNESS: 'frame_capture.brightness',
      CAMERA_CONTRAST: 'frame_capture.contrast',
      OPENCV_CAMERA_MAX_INDEX_TO_TRY: 'hardware.camera_max_index',
      MAX_CAPTURE_ATTEMPTS: 'frame_capture.retry_attempts',
      CAPTURE_RETRY_DELAY: 'frame_capture.retry_delay',
      REQUIRE_FACE_FOR_CAPTURE: { drop: 'the legacy never read it' },

      // The variable is called FACE_TOLERANCE, the attribute FACE_RECOGNITION_TOLERANCE.
      FACE_TOLERANCE: 'face_recognition.tolerance',
      BLACKLIST_TOLERANCE: 'face_recognition.blacklist_tolerance',
      MIN_FACE_SIZE: {
        to: 'face_detection.min_face_size',
        type: 'integer',
        convert: (side) => [side, side],
        back: firstOf,
      },

      NOTIFY_ON_KNOWN_VISITORS: 'notifications.alerts.known_person_detection.enabled',
      INCLUDE_PHOTO_FOR_KNOWN: 'notifications.include_images_for_known',
      TELEGRAM_BOT_TOKEN: { env: 'TELEGRAM_BOT_TOKEN', secret: true },
      TELEGRAM_CHAT_ID: { env: 'TELEGRAM_CHAT_ID', secret: true },
      ADDITIONAL_CHAT_IDS: 'notifications.emergency_contacts',
      SEND_PHOTOS: 'notifications.include_images',
      MAX_PHOTO_SIZE: 'notifications.max_image_bytes',
      RETRY_ATTEMPTS: 'notifications.retry_attempts',
      RETRY_DELAY: 'notifications.retry_delay',

      FBI_API_URL: 'wanted_list.api_url',
      FBI_UPDATE_ENABLED: 'wanted_list.enabled',
      FBI_MAX_ENTRIES: 'wanted_list.max_entries',

      LOG_LEVEL: 'storage.log_level',
      MAX_LOG_FILE_SIZE: {
        to: 'storage.log_rotation_size',
        type: 'integer',
        convert: (bytes) => `${Number(bytes) / MEGABYTE}MB`,
        back: (size) => (typeof size === 'string' ? Number.parseFloat(size) * MEGABYTE : null),
      },
      LOG_BACKUP_COUNT: 'storage.log_backup_count',

      PROJECT_ROOT: { drop: OWN_FOLDERS },
      DATA_DIR: { drop: OWN_FOLDERS },
      KNOWN_FACES_DIR: { drop: OWN_FOLDERS },
      BLACKLIST_FACES_DIR: { drop: OWN_FOLDERS },
      CAPTURES_DIR: { drop: OWN_FOLDERS },
      CROPPED_FACES_DIR: { drop: OWN_FOLDERS },
      LOGS_DIR: { drop: OWN_FOLDERS },
      OLD_GATE_CODE: { drop: 'nothing reads it', secret: true },
    },
    set: {
      'web_interface.port': { value: nextPort, reason: 'where the gateway expects the new side' },
    },
  });
}

const OWN_FOLDERS = 'the new side has folders of its own below its root; the pictures are moved there';

function firstOf(pair: unknown) {
  return Array.isArray(pair) ? Number(pair[0]) : null;
}
