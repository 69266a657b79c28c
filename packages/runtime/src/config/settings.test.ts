import { chmodSync, mkdtempSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { inspect } from 'node:util';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { z } from 'zod';
import { RuntimeError } from '../errors.ts';
import { Secret, secret } from './secret.ts';
import { Settings, type Reload, type SettingsOptions } from './settings.ts';

const schema = z.strictObject({
  http: z
    .strictObject({ port: z.number().int().min(1).max(65535).default(8080) })
    .meta({ restart: true })
    .prefault({}),
  camera: z
    .strictObject({
      frameRate: z.number().min(1).max(60).default(10),
      enabled: z.boolean().default(true),
      tags: z.array(z.string()).default([]),
    })
    .prefault({}),
  token: secret().optional(),
  mode: z.enum(['quiet', 'loud']).default('quiet'),
});

let folder: string;
let file: string;
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'runtime-settings-'));
  file = path.join(folder, 'service.json');
});
afterEach(() => {
  rmSync(folder, { recursive: true });
});

const load = (options: Partial<SettingsOptions<typeof schema>> = {}) =>
  Settings.load({ schema, file, prefix: 'APP', environment: {}, ...options });
const write = (content: unknown) => {
  writeFileSync(file, JSON.stringify(content));
};

describe('settings', () => {
  it('take each value from the strongest layer that has it', () => {
    write({ camera: { frameRate: 20 }, mode: 'loud', http: { port: 81 } });
    const settings = load({
      profiles: { small: { camera: { frameRate: 5, enabled: false } } },
      profile: 'small',
      environment: { APP_HTTP_PORT: '82' },
      overrides: { mode: 'quiet' },
    });
    expect(settings.current).toMatchObject({
      camera: { frameRate: 20, enabled: false },
      http: { port: 82 },
      mode: 'quiet',
    });
    const from = Object.fromEntries(settings.describe().map((one) => [one.path, one.from]));
    expect(from).toMatchObject({
      'camera.frameRate': 'file',
      'camera.enabled': 'profile',
      'http.port': 'environment',
      mode: 'command line',
      'camera.tags': 'default',
    });
  });

  it.each(['true', '1', 'yes', 'ON'])('read %s as true', (text) => {
    expect(load({ environment: { APP_CAMERA_ENABLED: text } }).current.camera.enabled).toBe(true);
  });

  it.each(['false', '0', 'no', 'Off'])('read %s as false', (text) => {
    expect(load({ environment: { APP_CAMERA_ENABLED: text } }).current.camera.enabled).toBe(false);
  });

  it('read lists with commas or as JSON, and names of old', () => {
    expect(load({ environment: { APP_CAMERA_TAGS: 'a, b' } }).current.camera.tags).toEqual(['a', 'b']);
    expect(load({ environment: { APP_CAMERA_TAGS: '["a,b"]' } }).current.camera.tags).toEqual(['a,b']);
    const aliases = { 'camera.frameRate': ['CAPTURE_FPS'] };
    expect(load({ environment: { CAPTURE_FPS: '7' }, aliases }).current.camera.frameRate).toBe(7);
  });

  it('are refused with every problem and the layer that it came from', () => {
    write({ camera: { frameRate: 900 }, speed: 1 });
    const attempt = () => load({ environment: { APP_HTTP_PORT: 'many' }, overrides: { colour: 'red' } });
    expect(attempt).toThrow(RuntimeError);
    expect(attempt).toThrow(/camera\.frameRate: .*60.*\(file\)/);
    expect(attempt).toThrow(/http\.port: expected a number \(environment, APP_HTTP_PORT\)/);
    expect(attempt).toThrow(/speed/);
    expect(attempt).toThrow(/colour: there is no such setting \(command line\)/);
  });

  it.each(['{', '[]', '"text"', '\u0000', ''])('are refused from a file that holds %j', (content) => {
    writeFileSync(file, content);
    expect(load).toThrow(expect.objectContaining({ code: 'RUN_CONFIG_FILE' }));
  });

  it('tell of names in the environment that mean nothing', () => {
    expect(load({ environment: { APP_CAMERA_FRAMERATE: '1', OTHER: '1' } }).unknown).toEqual(['APP_CAMERA_FRAMERATE']);
  });

  it('refuse two settings of one name', () => {
    const both = z.object({ a_b: z.string().default(''), a: z.object({ b: z.string().default('') }).prefault({}) });
    expect(() => Settings.load({ schema: both, prefix: 'X', environment: {} })).toThrow(
      expect.objectContaining({ code: 'RUN_CONFIG_NAMES' }),
    );
  });

  it('never show a secret, whatever looks at them', () => {
    const settings = load({ environment: { APP_TOKEN: 'hush-hush' } });
    expect(settings.current.token?.reveal()).toBe('hush-hush');
    const shown = [
      inspect(settings.current, { depth: 9 }),
      JSON.stringify(settings.current),
      String(settings.current.token),
    ];
    shown.push(JSON.stringify(settings.describe()), inspect(new Secret('hush-hush'), { showHidden: true }));
    for (const text of shown) expect(text).not.toContain('hush');
  });

  it('are exchanged as a whole, and what needs a restart is named and kept', () => {
    write({ camera: { frameRate: 20 } });
    const settings = load();
    const before = settings.current;
    write({ camera: { frameRate: 30 }, http: { port: 90 } });
    expect(settings.reload()).toEqual({ changed: ['camera.frameRate'], needsRestart: ['http.port'] } satisfies Reload);
    expect(settings.current).toMatchObject({ camera: { frameRate: 30 }, http: { port: 8080 } });
    expect(before.camera.frameRate).toBe(20);
    expect(Object.isFrozen(settings.current.camera)).toBe(true);
  });

  it('stay as they were when the file becomes wrong, and go on when it is right again', async () => {
    write({ camera: { frameRate: 20 } });
    const settings = load();
    const stop = new AbortController();
    const told: (Reload | RuntimeError)[] = [];
    settings.watch((result) => told.push(result), stop.signal);
    try {
      writeFileSync(file, '{ "camera": { "frameRate": ');
      await vi.waitFor(() => {
        expect(told.at(-1)).toMatchObject({ code: 'RUN_CONFIG_FILE' });
      });
      expect(settings.current.camera.frameRate).toBe(20);
      // As an editor does it: another file takes the place of this one.
      writeFileSync(`${file}.new`, JSON.stringify({ camera: { frameRate: 25 } }));
      renameSync(`${file}.new`, file);
      await vi.waitFor(() => {
        expect(told.at(-1)).toMatchObject({ changed: ['camera.frameRate'] });
      });
      expect(settings.current.camera.frameRate).toBe(25);
    } finally {
      stop.abort();
    }
  });

  it('cannot be used to change what all objects are', () => {
    writeFileSync(file, '{ "__proto__": { "polluted": true }, "camera": { "__proto__": { "polluted": true } } }');
    load();
    expect(({} as { polluted?: boolean }).polluted).toBeUndefined();
  });

  it('never crash on a file of any content', () => {
    fc.assert(
      fc.property(fc.oneof(fc.json(), fc.string()), (content) => {
        writeFileSync(file, content);
        try {
          load();
        } catch (error) {
          expect(error).toBeInstanceOf(RuntimeError);
        }
      }),
      { numRuns: 200 },
    );
  });

  it('describe themselves as JSON Schema', () => {
    expect(load().jsonSchema()).toMatchObject({
      properties: { camera: { properties: { frameRate: { maximum: 60 } } } },
    });
  });

  it('are changed as a whole and kept in the file; null takes one out again', () => {
    write({ camera: { frameRate: 20 }, mode: 'loud' });
    const settings = load();
    expect(settings.change({ camera: { frameRate: 30, tags: ['a', 'b'] }, mode: null, http: { port: 81 } })).toEqual({
      changed: ['camera.frameRate', 'camera.tags', 'mode'],
      needsRestart: ['http.port'],
    });
    expect(settings.current).toMatchObject({ camera: { frameRate: 30, tags: ['a', 'b'] }, mode: 'quiet' });
    expect(settings.current.http.port).toBe(8080);
    expect(load().current).toMatchObject({ camera: { frameRate: 30 }, mode: 'quiet', http: { port: 81 } });
  });

  it('of a change that cannot be taken stay as they are, each problem told', () => {
    write({ camera: { frameRate: 20 } });
    const settings = load({ environment: { APP_MODE: 'loud' } });
    const content = readFileSync(file, 'utf8');
    const told = (values: object) => () => settings.change({ ...values });
    expect(told({ mode: 'quiet', camera: { lens: 1 }, ['__proto__']: 1 })).toThrow(
      /mode: the environment holds it\n {2}camera\.lens: there is no such setting\n {2}__proto__: there/,
    );
    expect(told({ camera: { frameRate: 61 }, token: 5 })).toThrow(/camera\.frameRate: .*60[\s\S]*token: /);
    expect(told({ camera: 'all' })).toThrow(/camera: there is no such setting/);
    expect(readFileSync(file, 'utf8')).toBe(content);
    expect(settings.current.camera.frameRate).toBe(20);
    expect(() => Settings.load({ schema, environment: {} }).change({ mode: 'loud' })).toThrow(/no settings file/);
  });

  it('are in a new file that only its owner may read, and keep the permissions of an old one', () => {
    const settings = load();
    settings.change({ token: 'hush' });
    expect(statSync(file).mode & 0o777).toBe(0o600);
    expect(settings.current.token?.reveal()).toBe('hush');
    chmodSync(file, 0o644);
    settings.change({ mode: 'loud' });
    expect(statSync(file).mode & 0o777).toBe(0o644);
    expect(load().current.token?.reveal()).toBe('hush');
  });
});
