import { createReadStream } from 'node:fs';
import { readFile, stat, unlink } from 'node:fs/promises';
import path from 'node:path';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { isFileName, sanitiseName, slugOf, stampOf } from '../shared/names.ts';
import type { Parts } from './doorbell.ts';
import { pictures, writeDurably } from './files.ts';
import { HttpError, jsonBody, send } from './http.ts';

const MAX_CANDIDATES = 100;

export function faceRoutes(app: FastifyInstance, parts: Parts): void {
  knownRoutes(app, parts);
  candidateRoutes(app, parts);
  fileRoutes(app, parts);
}

function knownRoutes(app: FastifyInstance, parts: Parts): void {
  const { places, book, camera } = parts;

  app.get('/api/faces/known', async (_request, reply) => {
    const files = (await pictures(places.known)).reverse();
    const faces = [...new Set(book.known.names)].sort().map((name) => {
      // Only a prefix is compared, so that Ann is shown with the picture of Anna.
      const file = files.find((one) => one.startsWith(slugOf(name)));
      return { name, image_url: file === undefined ? null : `/api/files/known_faces/${file}` };
    });
    return send(reply, { status: 'success', count: faces.length, faces });
  });

  app.post('/api/faces/known/upload', async (request, reply) => {
    const { name, file } = await form(request);
    const sanitised = requireName(name);
    if (!file) throw new HttpError(400, 'Image file is required');
    return send(reply, await learn(parts, sanitised, await jpegOf(parts, file, { quality: 85 })));
  });

  app.post('/api/faces/known/add-from-camera', async (request, reply) => {
    const name = requireName(jsonBody(request)?.['name']);
    const frame = await camera.capture();
    if (!frame) throw new HttpError(400, 'Failed to capture image');
    return send(reply, await learn(parts, name, frame));
  });

  app.delete<{ Params: { name: string } }>('/api/faces/known/:name', async (request, reply) => {
    const { name } = request.params;
    if (!(await book.known.removeFirst(name))) throw new HttpError(404, 'Name not found');
    return send(reply, { status: 'success', name });
  });
}

function candidateRoutes(app: FastifyInstance, parts: Parts): void {
  const { places } = parts;

  app.get('/api/faces/candidates', async (_request, reply) => {
    const newest = (await pictures(places.croppedUnknown)).reverse().slice(0, MAX_CANDIDATES);
    const items = newest.map((filename) => ({ filename, path: `/api/files/cropped/unknown/${filename}` }));
    return send(reply, { status: 'success', items });
  });

  app.delete<{ Params: { filename: string } }>('/api/faces/candidates/:filename', async (request, reply) => {
    const { filename } = request.params;
    await unlink(await candidate(parts, filename));
    return send(reply, { status: 'success', filename });
  });

  app.post('/api/faces/label', async (request, reply) => {
    const { filename, name } = jsonBody(request) ?? {};
    if (typeof filename !== 'string' || filename === '') throw new HttpError(400, 'Filename is required');
    const sanitised = requireName(name);
    const file = await candidate(parts, filename);
    const learned = await learn(
      parts,
      sanitised,
      await jpegOf(parts, await readFile(file), { quality: 90, enlarge: true }),
    );
    await unlink(file);
    return send(reply, learned);
  });
}

function fileRoutes(app: FastifyInstance, { places }: Parts): void {
  app.get<{ Params: { category: string; '*': string } }>('/api/files/cropped/:category/*', async (request, reply) => {
    const { category, '*': file } = request.params;
    if (category !== 'known' && category !== 'unknown') throw new HttpError(400, 'Invalid category');
    return sendFile(reply, category === 'known' ? places.croppedKnown : places.croppedUnknown, file);
  });

  app.get<{ Params: { '*': string } }>('/api/files/known_faces/*', async (request, reply) =>
    sendFile(reply, places.known, request.params['*']),
  );
}

async function sendFile(reply: FastifyReply, folder: string, name: string): Promise<FastifyReply> {
  const file = await existing(folder, name);
  return reply.type(file.endsWith('.png') ? 'image/png' : 'image/jpeg').send(createReadStream(file));
}

async function candidate({ places }: Parts, name: string): Promise<string> {
  return existing(places.croppedUnknown, name);
}

/** The original follows `..` out of the folder; that is the one behaviour which is not kept. */
async function existing(folder: string, name: string): Promise<string> {
  const file = path.join(folder, name);
  if (!isFileName(name) || !(await stat(file).catch(() => null))?.isFile()) throw new HttpError(404, 'File not found');
  return file;
}

function requireName(name: unknown): string {
  const sanitised = sanitiseName(typeof name === 'string' ? name : '');
  if (sanitised === '') throw new HttpError(400, 'Name is required');
  return sanitised;
}

async function jpegOf(
  { faces }: Parts,
  image: Uint8Array,
  options: { quality: number; enlarge?: boolean },
): Promise<Uint8Array> {
  return faces.normalise(image, options).catch((error: unknown) => {
    throw new HttpError(400, `Failed to process image: ${error instanceof Error ? error.message : String(error)}`);
  });
}

/** Adds the first face of a picture under a name: the picture is on disk, then the pickle, then the client is told. */
async function learn({ places, faces, book }: Parts, name: string, jpeg: Uint8Array) {
  const [face] = (await faces.analyse(jpeg)).faces;
  if (!face) throw new HttpError(400, 'No face found in image');
  const filename = `${slugOf(name)}_${stampOf(new Date())}.jpg`;
  await writeDurably(places, path.join(places.known, filename), jpeg);
  await book.known.add(name, face.encoding);
  return { status: 'success', name, filename };
}

/** The fields of an upload; a request that is no form has none. */
async function form(request: FastifyRequest): Promise<{ readonly name: string | null; readonly file: Buffer | null }> {
  let name: string | null = null;
  let file: Buffer | null = null;
  if (!request.isMultipart()) return { name, file };
  for await (const part of request.parts()) {
    if (part.type === 'file') {
      const bytes = await part.toBuffer();
      if (part.fieldname === 'file' && part.filename !== '') file = bytes;
    } else if (part.fieldname === 'name' && typeof part.value === 'string') {
      name = part.value;
    }
  }
  return { name, file };
}
