import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir, readFile, writeFile, mkdir, readlink } from 'node:fs/promises';
import { createServer, type RequestListener } from 'node:http';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { packageIsMissing, tempFolder } from 'changeover/testing';
import { afterAll, beforeAll, expect, test as anyTest, vi } from 'vitest';
import { Faces } from '../../shared/faces.ts';
import { decodePicture } from '../../shared/picture.ts';
import { until } from '../../testing/client.ts';
import { Activity } from '../activity.ts';
import { PipelineConfig } from '../settings.ts';
import { openSystem } from '../system.ts';
import { Camera } from './camera.ts';
import { ffmpegSource } from './ffmpeg.ts';

const test = anyTest.skipIf((await packageIsMissing('ffmpeg')) !== null);

const PATTERN = 'lavfi:testsrc=size=320x240:rate=20';
const temp = await tempFolder('doorbell-camera-');
const faces = new Faces();
beforeAll(() => faces.warm(), 120_000);
afterAll(async () => {
  await faces.close();
  await temp.remove();
});

const capture = (changes: object = {}) =>
  PipelineConfig.parse({ frame_capture: { resolution: [320, 240], ...changes } }).frame_capture;

interface Seen {
  readonly frames: Uint8Array[];
  readonly greys: Uint8Array[];
}

/** Plays until so many pictures have come, then lets go. */
async function play(address: string, count: number, changes: object = {}, grey?: [number, number]): Promise<Seen> {
  const seen: Seen = { frames: [], greys: [] };
  const enough = new AbortController();
  const source = ffmpegSource({ address, capture: capture(changes), ...(grey && { grey }) });
  const viewer = {
    frame: (jpeg: Uint8Array) => {
      seen.frames.push(jpeg);
      if (seen.frames.length >= count) enough.abort();
    },
    grey: (pixels: Uint8Array) => seen.greys.push(pixels),
  };
  await source.play(viewer, enough.signal);
  return seen;
}

async function serve(listener: RequestListener) {
  const server = createServer(listener);
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const address = server.address();
  return {
    port: typeof address === 'object' && address ? address.port : 0,
    [Symbol.asyncDispose]: async () => {
      server.close();
      server.closeAllConnections();
      await once(server, 'close');
    },
  };
}

/** The ffmpeg processes that this process has started and that still run. */
async function children(): Promise<number[]> {
  const found: number[] = [];
  for (const name of await readdir('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    const stat = await readFile(`/proc/${name}/stat`, 'utf8').catch(() => '');
    const isOurs = Number(stat.slice(stat.lastIndexOf(')')).split(' ')[2]) === process.pid;
    const program = isOurs ? await readlink(`/proc/${name}/exe`).catch(() => '') : '';
    if (program.endsWith('/ffmpeg')) found.push(Number(name));
  }
  return found;
}

test('ffmpeg gives pictures of the size asked for, turned, with grey ones beside them, and is gone afterwards', async () => {
  const { frames, greys } = await play(PATTERN, 5, { rotation: 90, brightness: 60, resolution: [320, 320] }, [40, 30]);
  expect(decodePicture(frames[4] ?? expect.fail())).toMatchObject({ width: 240, height: 320 });
  expect(greys.length).toBeGreaterThan(0);
  expect(greys.every((pixels) => pixels.length === 1200)).toBe(true);
  expect(await children()).toEqual([]);
});

test('a stream of pictures over HTTP is played', async () => {
  const pattern = ['-loglevel', 'error', '-re', '-f', 'lavfi', '-i', 'testsrc=size=320x240:rate=20'];
  await using server = await serve((_request, response) => {
    response.writeHead(200, { 'content-type': 'multipart/x-mixed-replace;boundary=ffmpeg' });
    const camera = spawn('ffmpeg', [...pattern, '-f', 'mpjpeg', 'pipe:1'], { stdio: ['ignore', 'pipe', 'inherit'] });
    camera.stdout.pipe(response);
    response.on('close', () => camera.kill('SIGKILL'));
  });
  const { frames } = await play(`http://127.0.0.1:${server.port}/stream`, 5);
  expect(decodePicture(frames[0] ?? expect.fail())).toMatchObject({ width: 320, height: 240 });
});

test('a camera that gives one picture for each request is asked again and again', async () => {
  const { frames } = await play(PATTERN, 1);
  let requests = 0;
  await using server = await serve((request, response) => {
    expect(request.headers.authorization).toBe(`Basic ${Buffer.from('me:a b').toString('base64')}`);
    requests++;
    response.writeHead(200, { 'content-type': 'image/jpeg' });
    response.end(frames[0]);
  });
  const address = `http://me:a%20b@127.0.0.1:${server.port}/snap.jpg`;
  const { frames: got, greys } = await play(address, 4, { snapshot: true }, [40, 30]);
  expect([got.length >= 4, greys.length > 0, requests >= 4]).toEqual([true, true, true]);
});

test('a camera that refuses is told of without its credentials', async () => {
  await using server = await serve((_request, response) => response.writeHead(401).end());
  for (const address of [
    `http://me:hidden@127.0.0.1:${server.port}/a`,
    `http://127.0.0.1:${server.port}/a?pwd=hidden`,
    `rtsp://me:hid@den@127.0.0.1:1/a`,
  ]) {
    const failure = await play(address, 1).catch((error: unknown) => String(error));
    expect(failure).toMatch(/^Error: The camera \w+:\/\/127\.0\.0\.1:\d+\/a ended with code \d+: \S/);
    expect(failure).not.toMatch(/hid|den@|pwd/);
  }
  await expect(play(`http://me:hidden@127.0.0.1:${server.port}/a`, 1, { snapshot: true })).rejects.toThrow(
    /127\.0\.0\.1:\d+\/a gave no picture: it answered 401$/,
  );
});

test('a camera that stops to give pictures is broken off', async () => {
  const { frames } = await play(PATTERN, 1);
  await using server = await serve((_request, response) => {
    response.writeHead(200, { 'content-type': 'multipart/x-mixed-replace;boundary=b' });
    let left = 20;
    const timer = setInterval(() => {
      if (left-- <= 0) return;
      response.write(`--b\r\nContent-Type: image/jpeg\r\nContent-Length: ${frames[0]?.length ?? 0}\r\n\r\n`);
      response.write(frames[0]);
      response.write('\r\n');
    }, 50);
    response.on('close', () => {
      clearInterval(timer);
    });
  });
  await expect(play(`http://127.0.0.1:${server.port}/`, 1000)).rejects.toThrow(/gave no picture for 1 s$/);
  expect(await children()).toEqual([]);
});

test('a playlist of a hostile camera opens no file here', async () => {
  const file = path.join(temp.path, 'private.jpg');
  await writeFile(file, (await play(PATTERN, 1)).frames[0] ?? expect.fail());
  await using server = await serve((_request, response) => {
    response.setHeader('content-type', 'application/vnd.apple.mpegurl');
    response.end(`#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile://${file}\n#EXT-X-ENDLIST\n`);
  });
  await expect(play(`http://127.0.0.1:${server.port}/x.m3u8`, 1)).rejects.toThrow(/ended with code/);
});

test('without ffmpeg the error says what to install', async () => {
  vi.stubEnv('PATH', temp.path);
  await expect(play(PATTERN, 1).finally(() => vi.unstubAllEnvs())).rejects.toThrow(/apt-get install ffmpeg/);
});

test('a press gets the pictures around its moment, the sharpest first, in memory that threads share', async () => {
  const jpegs = (await play(PATTERN, 20)).frames;
  const activity = new Activity(true);
  const source = {
    kind: 'stream' as const,
    name: 'test',
    play: async (viewer: { frame(jpeg: Uint8Array): void }, signal: AbortSignal) => {
      for (let index = 0; !signal.aborted; index++) {
        viewer.frame(Buffer.concat([jpegs[0] ?? expect.fail(), Buffer.alloc(index)]));
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    },
  };
  const settings = capture({ burst_count: 3, burst_interval: 0.2, fps: 50 });
  const camera = new Camera(source, settings, activity);
  const stop = new AbortController();
  const streaming = camera.stream(stop.signal);
  await until(
    () => Promise.resolve(camera.health().status),
    (status) => status === 'healthy',
  );
  await new Promise((resolve) => setTimeout(resolve, 400));
  const burst = await camera.burst(Date.now());
  expect(burst).toHaveLength(3);
  const sizes = burst.map(({ length }) => length);
  expect(sizes).toEqual(sizes.toSorted((a, b) => b - a));
  expect(burst.every(({ buffer }) => buffer instanceof SharedArrayBuffer)).toBe(true);
  expect(await camera.burst(Date.now() - 60_000)).toHaveLength(1);
  stop.abort();
  await streaming;
});

test('a passive side lets go of the device before it says so, and takes it again', async () => {
  const activity = new Activity(true);
  const camera = new Camera(ffmpegSource({ address: PATTERN, capture: capture() }), capture(), activity);
  const stop = new AbortController();
  const streaming = camera.stream(stop.signal);
  const healthy = () => Promise.resolve(camera.health().status === 'healthy');
  await until(healthy, Boolean);
  expect(await children()).toHaveLength(1);
  await activity.passivate();
  expect(await children()).toEqual([]);
  activity.activate();
  await until(children, (pids) => pids.length === 1);
  await until(healthy, Boolean);
  stop.abort();
  await streaming;
  expect(await children()).toEqual([]);
});

async function start(name: string, source: string, more: object = {}) {
  const root = path.join(temp.path, name);
  await mkdir(path.join(root, 'config'), { recursive: true });
  const frame_capture = { source, resolution: [320, 240], retry_attempts: 2, retry_delay: 0.05 };
  const all = {
    frame_capture,
    hardware: { button_debounce_time: 0 },
    face_recognition: { enabled: false },
    storage: { log_level: 'CRITICAL' },
    ...more,
  };
  await writeFile(path.join(root, 'config/pipeline.json'), JSON.stringify(all));
  const system = await openSystem({ root, faces, environment: {} });
  const db = new DatabaseSync(path.join(root, 'data/pipeline.db'), { timeout: 5000 });
  const types = () =>
    Promise.resolve(
      db
        .prepare('SELECT event_type FROM events ORDER BY id')
        .all()
        .map((row) => row['event_type']),
    );
  return { ...system, types, overall: () => Promise.resolve(system.runtime.health.overall()) };
}

test('pictures come back after ffmpeg was killed, and a press in between is an event', async () => {
  const { camera, bell, runtime, types, overall, places } = await start('killed', PATTERN);
  await until(overall, (status) => status === 'healthy');
  await bell.press();
  await until(types, (all) => all.length === 1);
  const [kept] = await readdir(places.captures);
  expect(decodePicture(await readFile(path.join(places.captures, kept ?? '')))).toMatchObject({ width: 320 });
  for (const pid of await children()) process.kill(pid, 'SIGKILL');
  await until(() => Promise.resolve(runtime.services().find(({ name }) => name === 'pictures')?.restarts), Boolean);
  await until(
    () => Promise.resolve(camera.health().status),
    (status) => status === 'healthy',
  );
  await bell.press();
  await until(types, (all) => all.length === 2);
  expect(await types()).toEqual(['NO_FACES_DETECTED', 'NO_FACES_DETECTED']);
  await runtime.stop();
  expect(await children()).toEqual([]);
});

test('a camera that is not there makes the system degraded, and a press is still an event', async () => {
  const { bell, runtime, types, overall } = await start('absent', '/dev/video-absent');
  await until(overall, (status) => status === 'degraded');
  expect(runtime.isReady()).toBe(true);
  await until(
    () => Promise.resolve(runtime.health.of('camera').reason),
    (reason) => /video-absent.*No such file/.test(reason ?? ''),
  );
  await bell.press();
  await until(types, (all) => all.length === 1);
  expect(await types()).toEqual(['COMPONENT_ERROR']);
  await runtime.stop();
});

test('what moves before the camera is stored as two events of one mover', async () => {
  const motion_detection = {
    enabled: true,
    min_area: 100,
    blur_kernel: 5,
    min_motion_duration: 0.2,
    motion_history_size: 3,
  };
  // A white square that crosses a grey picture between the fourth second and the sixth.
  const moving = "overlay=x=(t-4)*150:y=80:enable='between(t,4,6)'";
  const grey = `lavfi:color=gray:size=320x240:rate=20[a];color=white:size=60x60:rate=20[b];[a][b]${moving}`;
  const { runtime, types, storage } = await start('moving', grey, { motion_detection });
  await until(types, (all) => all.length === 2);
  expect(await types()).toEqual(['MOTION_DETECTED', 'MOTION_ENDED']);
  const [begin, end] = await storage.recentEvents(['MOTION_DETECTED', 'MOTION_ENDED'], 2);
  const { seconds } = JSON.parse(end?.data ?? '{}') as { seconds: number };
  expect(seconds).toBeCloseTo((end?.timestamp ?? 0) - (begin?.timestamp ?? 0), 2);
  expect(seconds).toBeGreaterThan(0.5);
  await runtime.stop();
});

test('a passive side has stored the end of a motion before it says that it is passive', async () => {
  const motion_detection = { enabled: true, min_area: 100, blur_kernel: 5, min_motion_duration: 0 };
  const put = 'drawbox=x=100:y=80:w=60:h=60:color=white:t=fill:enable=gte(t\\,2)';
  const { activity, runtime, types } = await start('passive', `lavfi:color=gray:size=320x240:rate=20,${put}`, {
    motion_detection,
  });
  await until(types, (all) => all.length === 1);
  await activity.passivate();
  expect(await types()).toEqual(['MOTION_DETECTED', 'MOTION_ENDED']);
  expect(await children()).toEqual([]);
  await runtime.stop();
});
