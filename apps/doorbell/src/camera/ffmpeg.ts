import { spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Readable, Writable } from 'node:stream';
import { text } from 'node:stream/consumers';
import type { Settings } from '../settings.ts';
import { JpegSplitter } from './jpeg-splitter.ts';
import { snapshots } from './snapshots.ts';
import type { StreamSource, Viewer } from './source.ts';

/** A camera that has to be connected to, and whose first whole picture has to be waited for, needs more than one that runs. */
const FIRST_FRAME_MS = 15_000;
/** A camera is told of the end where there is time for it. */
const TERMINATE_MS = 1000;
const MAX_TOLD_CHARACTERS = 500;
const MS_PER_SECOND = 1000;

export interface FfmpegOptions {
  /** `rtsp://`, `rtsps://`, `http://`, `https://`, a device below `/dev/`, or `lavfi:` with a generated picture. */
  readonly address: string;
  readonly capture: Settings['frame_capture'];
  /** Width and height of the grey pictures; default none are made. */
  readonly grey?: readonly [number, number];
}

/**
 * A camera read by ffmpeg, a process of its own: whatever a stream does to its decoder, this process goes on. It decodes once, and gives JPEGs
 * of one size and quality, and small grey pictures for those that look for motion.
 */
export function ffmpegSource(options: FfmpegOptions): StreamSource {
  const name = shownAddress(options.address);
  return { kind: 'stream', name, play: (viewer, signal) => play(options, name, viewer, signal) };
}

/** Width and height of the grey pictures of which the motion settings tell. */
export function greySize({ frame_capture, motion_detection }: Settings): [number, number] {
  const [width, height] = frame_capture.resolution;
  const scaled = (side: number) => Math.max(1, Math.round(side * motion_detection.frame_resize_factor));
  return [scaled(width), scaled(height)];
}

async function play(options: FfmpegOptions, name: string, viewer: Viewer, signal: AbortSignal): Promise<void> {
  const { address, capture, grey } = options;
  const child = spawn('ffmpeg', ffmpegArguments(options), { stdio: ['pipe', 'pipe', 'pipe', 'pipe'] });
  const [given, pictures, errors, greys] = child.stdio as unknown as [Writable, Readable, Readable, Readable];
  const ended = once(child, 'close') as Promise<[number | null, NodeJS.Signals | null]>;
  // Aborts, with the reason, where the camera is given up.
  const broken = new AbortController();
  let kill: NodeJS.Timeout | undefined;
  const asking = new AbortController();
  const end = () => {
    asking.abort();
    child.kill('SIGTERM');
    kill ??= setTimeout(() => child.kill('SIGKILL'), TERMINATE_MS);
  };
  const breakOff = (reason: string) => {
    broken.abort(new Error(`The camera ${name} ${reason}`));
    end();
  };
  const stalled = (ms: number) =>
    setTimeout(() => {
      breakOff(`gave no picture for ${ms / MS_PER_SECOND} s`);
    }, ms);
  let watch = stalled(Math.max(FIRST_FRAME_MS, capture.buffer_timeout * MS_PER_SECOND));
  const splitter = new JpegSplitter();
  pictures.on('data', (chunk: Buffer) => {
    try {
      for (const jpeg of splitter.push(chunk)) {
        clearTimeout(watch);
        if (!signal.aborted) watch = stalled(capture.buffer_timeout * MS_PER_SECOND);
        viewer.frame(jpeg);
      }
    } catch (error) {
      breakOff(`cannot be read: ${reasonOf(error)}`);
    }
  });
  if (grey) cutInto(greys, grey[0] * grey[1], (pixels) => viewer.grey?.(pixels));
  else greys.resume();
  const told = text(errors);
  // What ffmpeg does not take any more is told by its end.
  given.on('error', () => undefined);
  if (isSnapshot(address, capture)) {
    void (async () => {
      for await (const jpeg of snapshots(address, capture.fps, asking.signal)) given.write(jpeg);
    })().catch((error: unknown) => {
      if (!asking.signal.aborted) breakOff(`gave no picture: ${reasonOf(error)}`);
    });
  } else given.end();
  if (signal.aborted) end();
  else signal.addEventListener('abort', end, { once: true });
  try {
    const [code, by] = await ended;
    if (signal.aborted) return;
    broken.signal.throwIfAborted();
    const words = withoutCredentials((await told).trim(), address).slice(-MAX_TOLD_CHARACTERS);
    throw new Error(`The camera ${name} ended with ${by ?? `code ${code ?? 0}`}${words && `: ${words}`}`);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    throw new Error('ffmpeg is not there, and a camera needs it: install it (apt-get install ffmpeg)', {
      cause: error,
    });
  } finally {
    asking.abort();
    clearTimeout(watch);
    clearTimeout(kill);
    signal.removeEventListener('abort', end);
  }
}

/** Exactly so many bytes at a time. */
function cutInto(stream: Readable, size: number, take: (bytes: Uint8Array) => void): void {
  let filling = new Uint8Array(size);
  let filled = 0;
  stream.on('data', (chunk: Buffer) => {
    for (let at = 0; at < chunk.length;) {
      const part = chunk.subarray(at, at + size - filled);
      filling.set(part, filled);
      filled += part.length;
      at += part.length;
      if (filled < size) return;
      take(filling);
      filling = new Uint8Array(size);
      filled = 0;
    }
  });
}

function ffmpegArguments({ address, capture, grey }: FfmpegOptions): string[] {
  const { resolution, fps, quality } = capture;
  const [width, height] = resolution;
  const fit = `scale=${width}:${height}:force_original_aspect_ratio=decrease:force_divisible_by=2`;
  const filters = [`fps=${fps}`, ...turned(capture), fit, ...lit(capture)].join(',');
  // ffmpeg counts from 2, the best, to 31.
  const coarseness = Math.max(2, Math.round(31 - (quality * 29) / 100));
  const pictures = ['-map', '[seen]', '-c:v', 'mjpeg', '-q:v', String(coarseness), '-f', 'image2pipe', 'pipe:1'];
  return [
    ...['-hide_banner', '-loglevel', 'error', '-nostdin'],
    ...input(address, capture),
    '-filter_complex',
    grey
      ? `[0:v]${filters},split[a][b];[a]format=yuvj420p[seen];[b]scale=${grey[0]}:${grey[1]},format=gray[grey]`
      : `[0:v]${filters},format=yuvj420p[seen]`,
    ...pictures,
    ...(grey ? ['-map', '[grey]', '-c:v', 'rawvideo', '-f', 'rawvideo', 'pipe:3'] : []),
  ];
}

function input(address: string, capture: Settings['frame_capture']): string[] {
  const { resolution, capture_fps: wished } = capture;
  // A list of what may be opened, because a stream may name more: a playlist of a hostile camera must not read files here.
  const network = ['-protocol_whitelist', 'http,https,rtsp,rtsps,rtp,udp,tcp,tls,crypto'];
  const live = ['-use_wallclock_as_timestamps', '1', '-fflags', 'nobuffer', '-analyzeduration', '1000000'];
  if (address.startsWith('lavfi:')) return ['-re', '-f', 'lavfi', '-i', address.slice('lavfi:'.length)];
  if (address.startsWith('/dev/'))
    return ['-f', 'v4l2', '-framerate', String(wished), '-video_size', resolution.join('x'), '-i', address];
  if (address.startsWith('rtsp')) return [...network, ...live, '-rtsp_transport', 'tcp', '-i', address];
  if (!isSnapshot(address, capture)) return [...network, ...live, '-i', address];
  return [
    '-use_wallclock_as_timestamps',
    '1',
    '-probesize',
    '32',
    '-analyzeduration',
    '0',
    '-f',
    'mjpeg',
    '-i',
    'pipe:0',
  ];
}

function isSnapshot(address: string, { snapshot }: Settings['frame_capture']): boolean {
  return snapshot && address.startsWith('http');
}

/** The cause of a `fetch failed` says more than it does. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause instanceof Error ? error.cause.message : error.message;
}

function turned({ rotation }: Settings['frame_capture']): string[] {
  return { 0: [], 90: ['transpose=clock'], 180: ['hflip', 'vflip'], 270: ['transpose=cclock'] }[rotation];
}

/** 50 % leaves the picture as it is. */
function lit({ brightness, contrast }: Settings['frame_capture']): string[] {
  if (brightness === 50 && contrast === 50) return [];
  return [`eq=brightness=${(brightness - 50) / 100}:contrast=${contrast / 50}`];
}

/** An address as people may see it: without credentials, which may stand before the host or among the parameters. */
function shownAddress(address: string): string {
  if (!URL.canParse(address) || address.startsWith('lavfi:')) return address;
  const { protocol, host, pathname } = new URL(address);
  return `${protocol}//${host}${pathname}`;
}

function withoutCredentials(words: string, address: string): string {
  const shown = words.replaceAll(address, shownAddress(address)).replaceAll(/\/\/[^/\s]*@/g, '//');
  if (!URL.canParse(address)) return shown;
  const { search, password } = new URL(address);
  return [search, password]
    .filter((secret) => secret !== '')
    .reduce((rest, secret) => rest.replaceAll(secret, '…'), shown);
}
