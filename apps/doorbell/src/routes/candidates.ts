import { readFile, unlink } from 'node:fs/promises';
import type { FastifyInstance } from 'fastify';
import { pictures } from '../files.ts';
import { HttpError, jsonBody, requireName } from '../http.ts';
import { jpegOf, learn } from '../learn.ts';
import type { System } from '../system.ts';
import { existingFile } from './files.ts';

const MAX_CANDIDATES = 100;
const LABEL_QUALITY = 90;

/** Crops of people whom nobody knew, to be named or thrown away. */
export function candidateRoutes(app: FastifyInstance, system: System): void {
  const { activity, places } = system;

  app.get('/api/faces/candidates', async () => {
    const newest = (await pictures(places.croppedUnknown)).reverse().slice(0, MAX_CANDIDATES);
    const items = newest.map((filename) => ({ filename, path: `/api/files/cropped/unknown/${filename}` }));
    return { status: 'success', items };
  });

  app.delete<{ Params: { filename: string } }>('/api/faces/candidates/:filename', (request) =>
    activity.run(async () => {
      const { filename } = request.params;
      await unlink(await existingFile(places.croppedUnknown, filename));
      return { status: 'success', filename };
    }),
  );

  app.post('/api/faces/label', (request) =>
    activity.run(async () => {
      const { filename, name } = jsonBody(request) ?? {};
      if (typeof filename !== 'string' || filename === '') throw new HttpError(400, 'Filename is required');
      const sanitised = requireName(name);
      const file = await existingFile(places.croppedUnknown, filename);
      const jpeg = await jpegOf(system, await readFile(file), { quality: LABEL_QUALITY, enlarge: true });
      const learned = await learn(system, sanitised, jpeg);
      await unlink(file);
      return learned;
    }),
  );
}
