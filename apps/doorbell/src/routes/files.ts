import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import path from 'node:path';
import type { FastifyInstance, FastifyReply } from 'fastify';
import { isFileName } from '../../shared/names.ts';
import { HttpError } from '../http.ts';
import type { System } from '../system.ts';

export function fileRoutes(app: FastifyInstance, { places }: System): void {
  app.get<{ Params: { category: string; '*': string } }>('/api/files/cropped/:category/*', async (request, reply) => {
    const { category, '*': name } = request.params;
    if (category !== 'known' && category !== 'unknown') throw new HttpError(400, 'Invalid category');
    return sendFile(reply, category === 'known' ? places.croppedKnown : places.croppedUnknown, name);
  });

  app.get<{ Params: { '*': string } }>('/api/files/known_faces/*', async (request, reply) =>
    sendFile(reply, places.known, request.params['*']),
  );
}

/** The file of that name in the folder itself; 404 for everything else, also for ways out of the folder. */
export async function existingFile(folder: string, name: string): Promise<string> {
  const file = path.join(folder, name);
  if (!isFileName(name) || !(await stat(file).catch(() => null))?.isFile()) throw new HttpError(404, 'File not found');
  return file;
}

export async function sendFile(reply: FastifyReply, folder: string, name: string): Promise<FastifyReply> {
  const file = await existingFile(folder, name);
  return reply.type(file.endsWith('.png') ? 'image/png' : 'image/jpeg').send(createReadStream(file));
}
