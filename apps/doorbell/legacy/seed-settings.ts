/** The settings files of a seeded system. DEBOUNCE_TIME is left to its default, and one key belongs to nobody. */
export const DOTENV = `# Doorbell
FACE_TOLERANCE=0.6
BLACKLIST_TOLERANCE=0.5
DOORBELL_PIN=18
RED_LED_PIN=16
YELLOW_LED_PIN=20
GREEN_LED_PIN=21
NOTIFY_ON_KNOWN_VISITORS=False
INCLUDE_PHOTO_FOR_KNOWN="True"
FBI_MAX_ENTRIES=25
LOG_LEVEL=INFO   # DEBUG is very chatty
OLD_GATE_CODE='4711'
`;

export const SETTINGS_PY = `"""Settings of the doorbell. Values come from the environment, else from here."""
import os
from pathlib import Path


class Settings:
    def __init__(self):
        # Paths
        self.PROJECT_ROOT = Path(__file__).parent.parent
        self.DATA_DIR = self.PROJECT_ROOT / 'data'
        self.KNOWN_FACES_DIR = self.DATA_DIR / 'known_faces'
        self.BLACKLIST_FACES_DIR = self.DATA_DIR / 'blacklist_faces'
        self.CAPTURES_DIR = self.DATA_DIR / 'captures'
        self.CROPPED_FACES_DIR = self.DATA_DIR / 'cropped_faces'
        self.LOGS_DIR = self.DATA_DIR / 'logs'

        # Pins (BCM)
        self.DOORBELL_PIN = int(os.getenv('DOORBELL_PIN', '18'))
        self.STATUS_LED_PINS = {
            'red': int(os.getenv('RED_LED_PIN', '16')),
            'yellow': int(os.getenv('YELLOW_LED_PIN', '20')),
            'green': int(os.getenv('GREEN_LED_PIN', '21')),
        }
        self.DEBOUNCE_TIME = float(os.getenv('DEBOUNCE_TIME', '2.0'))

        # Camera
        self.CAMERA_RESOLUTION = (1280, 720)
        self.CAMERA_ROTATION = 0
        self.CAMERA_BRIGHTNESS = 50
        self.CAMERA_CONTRAST = 50
        self.OPENCV_CAMERA_MAX_INDEX_TO_TRY = 5
        self.MAX_CAPTURE_ATTEMPTS = int(os.getenv('MAX_CAPTURE_ATTEMPTS', '3'))
        self.CAPTURE_RETRY_DELAY = float(os.getenv('CAPTURE_RETRY_DELAY', '0.5'))
        self.REQUIRE_FACE_FOR_CAPTURE = False

        # Faces
        self.FACE_RECOGNITION_TOLERANCE = float(os.getenv('FACE_TOLERANCE', '0.6'))
        self.BLACKLIST_TOLERANCE = float(os.getenv('BLACKLIST_TOLERANCE', '0.5'))
        self.MIN_FACE_SIZE = int(os.getenv('MIN_FACE_SIZE', '50'))

        # Messages
        self.NOTIFY_ON_KNOWN_VISITORS = os.getenv('NOTIFY_ON_KNOWN_VISITORS', 'False').lower() == 'true'
        self.INCLUDE_PHOTO_FOR_KNOWN = os.getenv('INCLUDE_PHOTO_FOR_KNOWN', 'False').lower() == 'true'

        # Public list
        self.FBI_API_URL = os.getenv('FBI_API_URL', 'https://api.fbi.gov/wanted/v1/list')
        self.FBI_UPDATE_ENABLED = os.getenv('FBI_UPDATE_ENABLED', 'True').lower() == 'true'
        self.FBI_MAX_ENTRIES = int(os.getenv('FBI_MAX_ENTRIES', '50'))

        # Log
        self.LOG_LEVEL = os.getenv('LOG_LEVEL', 'INFO')
        self.MAX_LOG_FILE_SIZE = int(os.getenv('MAX_LOG_FILE_SIZE', '10485760'))
        self.LOG_BACKUP_COUNT = int(os.getenv('LOG_BACKUP_COUNT', '5'))
`;

export const CREDENTIALS_PY = `"""Telegram. Keep this file to yourself."""

TELEGRAM_BOT_TOKEN = '110201543:not-a-real-token'
TELEGRAM_CHAT_ID = '-1001234567890'
ADDITIONAL_CHAT_IDS = ['-1009876543210', '4242']

SEND_PHOTOS = True
MAX_PHOTO_SIZE = 1048576  # bytes
RETRY_ATTEMPTS = 3
RETRY_DELAY = 5  # seconds
`;
