import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { tempFolder } from 'changeover/testing';
import { expect, test } from 'vitest';
import { PipelineConfig, readConfiguration } from './settings.ts';

async function read(files: Readonly<Record<string, string>>, environment: NodeJS.ProcessEnv = {}) {
  await using temp = await tempFolder();
  await mkdir(path.join(temp.path, 'config'));
  for (const [name, text] of Object.entries(files)) await writeFile(path.join(temp.path, 'config', name), text);
  return await readConfiguration(temp.path, environment);
}

test('without files everything has its default', async () => {
  const { settings, secrets } = await read({});
  expect(settings).toEqual(PipelineConfig.parse({}));
  expect(settings).toMatchObject({
    face_recognition: { tolerance: 0.6, blacklist_tolerance: 0.5 },
    hardware: { button_debounce_time: 5, led_pins: { red: 16, yellow: 20, green: 21 } },
    notifications: { alerts: { known_person_detection: { enabled: true, priority: 'info' } } },
    storage: { keep_images_days: null },
  });
  expect(new Set(Object.values(secrets))).toEqual(new Set([null]));
});

test('a file changes what it names and nothing beside it', async () => {
  const text = JSON.stringify({ hardware: { led_pins: { red: 5 } }, web_interface: { port: 8080 } });
  const { settings } = await read({ 'pipeline.json': text });
  expect(settings.hardware.led_pins).toEqual({ red: 5, yellow: 20, green: 21 });
  expect(settings.web_interface.port).toBe(8080);
});

test('the environment wins over the files', async () => {
  const files = {
    'pipeline.json': '{"web_interface":{"port":8080}}',
    'secrets.env': 'TELEGRAM_BOT_TOKEN=from-file\nTELEGRAM_CHAT_ID="-100123"\n',
  };
  const { settings, secrets } = await read(files, { PORT: '9000', TELEGRAM_BOT_TOKEN: 'from-environment' });
  expect(settings.web_interface.port).toBe(9000);
  expect([secrets.telegramBotToken?.reveal(), secrets.telegramChatId]).toEqual(['from-environment', '-100123']);
  expect(JSON.stringify(secrets)).not.toContain('from-environment');
});

test('every wrong key is named, with the file', async () => {
  const text = JSON.stringify({
    hardware: { doorbell_pin: 99, debounce: 2 },
    face_recognition: { tolerance: '0.6' },
    notification: { telegram: {} },
  });
  const failure = await read({ 'pipeline.json': text }).catch((error: unknown) => String(error));
  for (const word of ['pipeline.json', 'doorbell_pin', 'debounce', 'tolerance', 'notification'])
    expect(failure).toContain(word);
  await expect(read({ 'pipeline.json': '{' })).rejects.toThrow(/pipeline\.json cannot be read/);
  await expect(read({}, { PORT: 'http' })).rejects.toThrow(/PORT/);
  await expect(read({}, { CAMERA_URL: 'file:///etc/passwd' })).rejects.toThrow(/CAMERA_URL/);
});

test('a camera with credentials is a secret, and refused where everybody may read', async () => {
  const source = 'rtsp://me:hidden@camera/1';
  await expect(read({ 'pipeline.json': JSON.stringify({ frame_capture: { source } }) })).rejects.toThrow(
    /secrets\.env/,
  );
  expect((await read({ 'secrets.env': `CAMERA_URL=${source}\n` })).secrets.cameraUrl).toBe(source);
});
