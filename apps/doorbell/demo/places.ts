import { mkdir, mkdtemp, realpath, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { freePort } from 'changeover/testing';
import { seedLegacy, type Seeded } from '../legacy/seed.ts';
import { people } from '../seed/people.ts';

/** Where everything of one demonstration lives. */
export interface Places {
  readonly folder: string;
  readonly legacyRoot: string;
  readonly nextRoot: string;
  readonly stateDir: string;
  readonly camera: string;
  readonly portraits: readonly string[];
  readonly ports: { readonly gateway: number; readonly legacy: number; readonly next: number };
  readonly databaseUrl: string | null;
  readonly seeded: Seeded;
}

const PEOPLE = 12;
const EVENTS = 20_000;

/** A doorbell that has been in use for a year, in a new folder. */
export async function prepare(databaseUrl: string | null): Promise<Places> {
  const folder = await realpath(await mkdtemp(path.join(tmpdir(), 'changeover-demo-')));
  const legacyRoot = path.join(folder, 'legacy');
  const nextRoot = path.join(folder, 'next');
  const camera = path.join(folder, 'camera');
  await mkdir(legacyRoot);
  await mkdir(nextRoot);
  await mkdir(camera);
  const seeded = await seedLegacy(legacyRoot, { people: PEOPLE, events: EVENTS });
  const portraits: string[] = [];
  for (const { id, portraits: own } of await people()) {
    const last = own.at(-1);
    if (last === undefined) continue;
    const file = path.join(camera, `${id}.jpg`);
    await writeFile(file, last.jpeg);
    portraits.push(file);
  }
  const ports = { gateway: await freePort(), legacy: await freePort(), next: await freePort() };
  return {
    folder,
    legacyRoot,
    nextRoot,
    stateDir: path.join(folder, 'state'),
    camera,
    portraits,
    ports,
    databaseUrl,
    seeded,
  };
}

/** What the plan and both systems are told about where they live. */
export function environmentOf({ legacyRoot, nextRoot, camera, ports, databaseUrl }: Places): Record<string, string> {
  return {
    DOORBELL_LEGACY_ROOT: legacyRoot,
    DOORBELL_NEXT_ROOT: nextRoot,
    DOORBELL_CAMERA: camera,
    DOORBELL_PORTS: [ports.gateway, ports.legacy, ports.next].join(','),
    ...(databaseUrl === null ? {} : { DOORBELL_DATABASE_URL: databaseUrl }),
  };
}
