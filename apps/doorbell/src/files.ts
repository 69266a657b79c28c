import { link, mkdir, open, readdir, rename, unlink } from 'node:fs/promises';
import path from 'node:path';
import { stampOf } from '../shared/names.ts';
import type { Settings } from './settings.ts';

/** `DOORBELL_ROOT`, or `.next` in the folder of the app. */
export function rootFolder(): string {
  return path.resolve(process.env['DOORBELL_ROOT'] ?? path.join(import.meta.dirname, '../.next'));
}

export interface Folders {
  readonly known: string;
  readonly blacklist: string;
  readonly captures: string;
  readonly croppedKnown: string;
  readonly croppedUnknown: string;
  readonly logs: string;
  /** Unfinished files. */
  readonly scratch: string;
}

/** Where files lie; relative settings are relative to the root. */
export function folders(root: string, { storage, face_recognition: faces }: Settings): Folders {
  return {
    known: path.resolve(root, faces.known_faces_path),
    blacklist: path.resolve(root, faces.blacklist_faces_path),
    captures: path.resolve(root, storage.capture_path),
    croppedKnown: path.resolve(root, faces.cropped_faces_path, 'known'),
    croppedUnknown: path.resolve(root, faces.cropped_faces_path, 'unknown'),
    logs: path.resolve(root, storage.log_path),
    scratch: path.join(root, '.tmp'),
  };
}

export async function makeFolders(places: Folders): Promise<void> {
  for (const folder of Object.values(places) as string[]) await mkdir(folder, { recursive: true });
}

let written = 0;
/** So many pictures of the same second are not pictures any more. */
const MAX_TAKEN_NAMES = 3600;
/** Of names whose second was taken, the last one that was given: the presses of a burst do not each try all that came before. */
const lastGiven = new Map<string, number>();

/**
 * Writes a picture under a name that carries the time, durably, and returns the name. Names have one second of resolution: where
 * one is taken, the next free second is used, so that no picture is overwritten.
 */
export async function addPicture(
  places: Folders,
  folder: string,
  nameAt: (stamp: string) => string,
  bytes: Uint8Array,
): Promise<string> {
  const unfinished = await writeUnfinished(places, bytes);
  try {
    const form = path.join(folder, nameAt(''));
    const now = Date.now();
    const end = now + MAX_TAKEN_NAMES * 1000;
    const next = (lastGiven.get(form) ?? now) + 1000;
    for (let at = next > now + 1000 && next < end ? next : now; at < end; at += 1000) {
      const name = nameAt(stampOf(new Date(at)));
      // A link, unlike a rename, fails where the name exists.
      if (await linked(unfinished, path.join(folder, name))) {
        if (at > now) lastGiven.set(form, at);
        else lastGiven.delete(form);
        await syncFolder(folder);
        return name;
      }
    }
    throw new Error(`there is no free name for a picture in ${folder}`);
  } finally {
    await unlink(unfinished);
  }
}

/** Puts another picture in the place of one that {@link addPicture} wrote: whoever reads sees the one or the other. */
export async function replacePicture(places: Folders, folder: string, name: string, bytes: Uint8Array): Promise<void> {
  await rename(await writeUnfinished(places, bytes), path.join(folder, name));
  await syncFolder(folder);
}

async function writeUnfinished(places: Folders, bytes: Uint8Array): Promise<string> {
  const unfinished = path.join(places.scratch, `${process.pid}-${written++}`);
  const handle = await open(unfinished, 'w');
  try {
    await handle.writeFile(bytes);
    await handle.sync();
  } catch (error) {
    await unlink(unfinished);
    throw error;
  } finally {
    await handle.close();
  }
  return unfinished;
}

async function linked(from: string, to: string): Promise<boolean> {
  try {
    await link(from, to);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}

async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Names of the `*.jpg` of a folder, sorted. */
export async function pictures(folder: string): Promise<string[]> {
  return (await readdir(folder)).filter((name) => name.endsWith('.jpg')).sort();
}
