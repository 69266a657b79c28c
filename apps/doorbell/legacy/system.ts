import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import type { FastifyInstance } from 'fastify';
import { Faces } from '../shared/faces.ts';
import { Camera } from './camera.ts';
import { Doorbell, type Parts } from './doorbell.ts';
import { FaceBook } from './face-book.ts';
import { layout } from './files.ts';
import { Led } from './led.ts';
import { Notifier } from './notifier.ts';
import { buildApp } from './routes.ts';
import { readSettings } from './settings.ts';

export interface OpenOptions {
  /** Folder with `.env`, `config` and `data`; what is missing is made. */
  readonly root: string;
  /** Pictures for the camera; null: an empty porch. */
  readonly cameraFolder: string | null;
  readonly environment?: NodeJS.ProcessEnv;
  readonly faces?: Faces;
}

/** Reads settings and faces of a legacy root and puts the parts together; nothing listens yet. */
export async function openSystem({
  root,
  cameraFolder,
  environment = process.env,
  faces = new Faces(),
}: OpenOptions): Promise<Parts & { readonly app: FastifyInstance; readonly doorbell: Doorbell }> {
  const places = layout(root);
  for (const folder of [
    places.known,
    places.blacklist,
    places.captures,
    places.croppedKnown,
    places.croppedUnknown,
    places.logs,
    places.scratch,
  ]) {
    await mkdir(folder, { recursive: true });
  }
  const settings = await readSettings(path.resolve(root), environment);
  const tolerances = { face: settings.faceTolerance, blacklist: settings.blacklistTolerance };
  const book = await FaceBook.load(places, faces, tolerances);
  const camera = new Camera(cameraFolder, settings.cameraResolution, faces);
  const notifier = new Notifier(settings.telegram);
  const parts: Parts = { places, settings, faces, book, camera, led: new Led(), notifier };
  const doorbell = new Doorbell(parts);
  return { ...parts, doorbell, app: await buildApp(parts, doorbell) };
}
