import type { FastifyInstance, FastifyRequest } from 'fastify';
import { slugOf } from '../../shared/names.ts';
import { pictures } from '../files.ts';
import { HttpError, jsonBody, requireName } from '../http.ts';
import { jpegOf, learn } from '../learn.ts';
import type { System } from '../system.ts';

/** What follows the slug in the name of a person's picture. */
const AFTER_SLUG = /^_\d{8}_\d{6}\.jpg$/;

export function knownFaceRoutes(app: FastifyInstance, system: System): void {
  const { activity, camera, settings, storage } = system;

  app.get('/api/faces/known', async () => {
    const faces = await knownFaces(system);
    return { status: 'success', count: faces.length, faces };
  });

  app.post('/api/faces/known/upload', (request) =>
    activity.run(async () => {
      const { name, file } = await form(request);
      const sanitised = requireName(name);
      if (!file) throw new HttpError(400, 'Image file is required');
      return learn(system, sanitised, await jpegOf(system, file, { quality: settings.frame_capture.quality }));
    }),
  );

  app.post('/api/faces/known/add-from-camera', (request) =>
    activity.run(async () => {
      const name = requireName(jsonBody(request)?.['name']);
      const frame = await camera.capture();
      if (!frame) throw new HttpError(400, 'Failed to capture image');
      return learn(system, name, frame);
    }),
  );

  app.delete<{ Params: { name: string } }>('/api/faces/known/:name', (request) =>
    activity.run(async () => {
      const { name } = request.params;
      if (!(await storage.removePerson(`known:${name}`))) throw new HttpError(404, 'Name not found');
      return { status: 'success', name };
    }),
  );
}

/** Everybody who is known, by name, with the newest picture. */
export async function knownFaces({ places, storage }: System) {
  const known = (await storage.people()).filter((one) => !one.isBlacklisted).map(({ name }) => name);
  const newestFirst = (await pictures(places.known)).reverse();
  return [...new Set(known)].sort().map((name) => {
    const slug = slugOf(name);
    const file = newestFirst.find((one) => one.startsWith(slug) && AFTER_SLUG.test(one.slice(slug.length)));
    return { name, image_url: file === undefined ? null : `/api/files/known_faces/${file}` };
  });
}

/** The fields of an upload; a request that is no form has none. */
async function form(request: FastifyRequest): Promise<{ readonly name: string | null; readonly file: Buffer | null }> {
  let name: string | null = null;
  let file: Buffer | null = null;
  if (!request.isMultipart()) return { name, file };
  try {
    for await (const part of request.parts()) {
      if (part.type === 'file') {
        const bytes = await part.toBuffer();
        if (part.fieldname === 'file' && part.filename !== '') file = bytes;
      } else if (part.fieldname === 'name' && typeof part.value === 'string') {
        name = part.value;
      }
    }
  } catch (error) {
    // A form that is too large has its own status; one that cannot be read is the client's mistake.
    if ((error as { statusCode?: number }).statusCode !== undefined) throw error;
    throw new HttpError(400, `Failed to read the form: ${error instanceof Error ? error.message : String(error)}`);
  }
  return { name, file };
}
