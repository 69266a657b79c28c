/**
 * People for demonstrations and tests: portraits cut out of the sample pictures that ship with face-api, each really detected and
 * encoded. Deterministic; the result is kept in the temporary folder, because it takes some seconds.
 *
 *   node seed/people.ts FOLDER    writes the portraits as FOLDER/<id>_<n>.jpg
 */
import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Faces } from '../shared/faces.ts';
import { type Box, cut, decodePicture, encodeJpeg, type Picture, scale } from '../shared/picture.ts';

export interface Portrait {
  readonly jpeg: Uint8Array;
  readonly encoding: readonly number[];
}

/**
 * Residents are told apart by the nearest encoding, though some pairs are less than 0.6 apart. Wanted people are more than 0.5
 * from every resident, strangers more than 0.6 from everybody.
 */
export interface Person {
  readonly id: string;
  readonly role: 'resident' | 'wanted' | 'stranger';
  /** The last one is meant for visits: no seed stores it as a known face. */
  readonly portraits: readonly Portrait[];
}

/** Number of the sample picture and where the middle of the face is. */
const PEOPLE: readonly (readonly [role: Person['role'], sample: number, x: number, y: number])[] = [
  ['resident', 1, 502, 474],
  ['resident', 1, 932, 531],
  ['resident', 1, 1577, 318],
  ['resident', 2, 1543, 275],
  ['resident', 4, 757, 181],
  ['resident', 5, 865, 215],
  ['resident', 5, 1192, 317],
  ['resident', 5, 681, 540],
  ['resident', 5, 463, 1011],
  ['resident', 6, 1274, 445],
  ['resident', 6, 1592, 410],
  ['resident', 6, 354, 612],
  ['wanted', 3, 684, 467],
  ['wanted', 5, 1489, 527],
  ['stranger', 6, 760, 474],
  ['stranger', 3, 1599, 431],
];

/** One person on several occasions: margin around the face, side in pixels, JPEG quality, shift as a share of the face. */
const OCCASIONS = [
  [1.9, 224, 88, 0],
  [1.6, 200, 85, 0.05],
  [2.0, 208, 80, -0.02],
  [1.7, 192, 75, 0.03],
] as const;

interface Stored {
  readonly role: Person['role'];
  readonly portraits: readonly { readonly jpeg: string; readonly encoding: readonly number[] }[];
}

const require = createRequire(import.meta.url);
const SAMPLES = path.join(path.dirname(require.resolve('@vladmandic/face-api/package.json')), 'demo');

/** All sixteen people: twelve residents, two wanted, two strangers. */
export async function people(): Promise<readonly Person[]> {
  const file = path.join(tmpdir(), `doorbell-people-${await fingerprint()}.json`);
  const known = await readFile(file, 'utf8').catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  });
  const stored = known === null ? await cutAll() : (JSON.parse(known) as Stored[]);
  if (known === null) await store(file, JSON.stringify(stored));
  return stored.map(({ role, portraits }, index) => ({
    id: `person-${String(index + 1).padStart(2, '0')}`,
    role,
    portraits: portraits.map(({ jpeg, encoding }) => ({ jpeg: Buffer.from(jpeg, 'base64'), encoding })),
  }));
}

/** Changes whenever the portraits or their encodings could. */
async function fingerprint(): Promise<string> {
  const hash = createHash('sha256');
  for (const file of ['./people.ts', '../shared/faces-worker.ts', '../shared/picture.ts']) {
    hash.update(await readFile(new URL(file, import.meta.url)));
  }
  return hash.digest('hex').slice(0, 16);
}

/** Complete or not at all: another process may be reading. */
async function store(file: string, text: string): Promise<void> {
  const folder = await mkdtemp(`${file}-`);
  await writeFile(path.join(folder, 'people'), text);
  await rename(path.join(folder, 'people'), file);
  await rm(folder, { recursive: true });
}

async function cutAll(): Promise<Stored[]> {
  const faces = new Faces();
  try {
    const samples = new Map<number, { readonly picture: Picture; readonly boxes: readonly Box[] }>();
    for (const sample of new Set(PEOPLE.map(([, number]) => number))) {
      const bytes = await readFile(path.join(SAMPLES, `sample${sample}.jpg`));
      const found = await faces.analyse(bytes);
      samples.set(sample, { picture: decodePicture(bytes), boxes: found.faces.map((face) => face.box) });
    }
    const stored: Stored[] = [];
    for (const [role, sample, x, y] of PEOPLE) {
      const { picture, boxes } = samples.get(sample) ?? {};
      const box = boxes?.find((one) => x > one.x && x < one.x + one.width && y > one.y && y < one.y + one.height);
      if (!picture || !box) throw new Error(`no face was found at ${x}, ${y} of sample${sample}.jpg`);
      const portraits = [];
      for (const occasion of OCCASIONS) {
        const jpeg = portrait(picture, box, occasion);
        const [face, ...others] = (await faces.analyse(jpeg)).faces;
        if (!face || others.length)
          throw new Error(`the portrait at ${x}, ${y} of sample${sample}.jpg has not one face`);
        portraits.push({ jpeg: jpeg.toString('base64'), encoding: face.encoding });
      }
      stored.push({ role, portraits });
    }
    return stored;
  } finally {
    await faces.close();
  }
}

function portrait(picture: Picture, box: Box, [margin, side, quality, shift]: (typeof OCCASIONS)[number]): Buffer {
  const size = Math.max(box.width, box.height) * margin;
  const part = cut(picture, {
    x: box.x + box.width * (0.5 + shift) - size / 2,
    y: box.y + box.height * (0.5 + shift / 2) - size / 2,
    width: size,
    height: size,
  });
  return encodeJpeg(scale(part, side / Math.max(part.width, part.height)), quality);
}

if (import.meta.main) {
  const [folder] = process.argv.slice(2);
  if (folder === undefined) throw new Error('expected the folder to write to: node seed/people.ts FOLDER');
  await mkdir(folder, { recursive: true });
  for (const { id, portraits } of await people()) {
    for (const [index, { jpeg }] of portraits.entries()) {
      await writeFile(path.join(folder, `${id}_${index + 1}.jpg`), jpeg);
    }
  }
}
