import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify';
import { sanitiseName } from '../shared/names.ts';
import { PassiveSide } from './activity.ts';
import { StoreRefused } from './storage/storage.ts';

/** An answer other than 200, in the envelope that clients of the legacy know. */
export class HttpError extends Error {
  readonly status: number;
  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/** Seconds after which a client may ask again when the other side is the one that writes. */
const RETRY_AFTER_SECONDS = 1;

/** `{ status: 'error', message }`, and a code where the client can do something about it. */
export function sendError(error: unknown, reply: FastifyReply): FastifyReply {
  if (error instanceof StoreRefused || error instanceof PassiveSide) {
    const code = error instanceof StoreRefused ? 'STORE_FENCED' : 'PASSIVE';
    return reply
      .code(503)
      .header('Retry-After', RETRY_AFTER_SECONDS)
      .send({ status: 'error', message: error.message, code });
  }
  const status = error instanceof HttpError ? error.status : ((error as FastifyError).statusCode ?? 500);
  if (status >= 500) console.error(error);
  return reply.code(status).send({ status: 'error', message: error instanceof Error ? error.message : String(error) });
}

/** The JSON object of a request, or null where it has none. */
export function jsonBody(request: FastifyRequest): Readonly<Record<string, unknown>> | null {
  if (!/^application\/json\b/i.test(request.headers['content-type'] ?? '') || !Buffer.isBuffer(request.body))
    return null;
  try {
    const body: unknown = JSON.parse(request.body.toString('utf8'));
    return typeof body === 'object' && body !== null && !Array.isArray(body) ? (body as Record<string, unknown>) : null;
  } catch {
    return null; // no JSON is no object, whatever its syntax error
  }
}

/** A typed name, cleaned; 400 where nothing is left of it. */
export function requireName(name: unknown): string {
  const sanitised = sanitiseName(typeof name === 'string' ? name : '');
  if (sanitised === '') throw new HttpError(400, 'Name is required');
  return sanitised;
}
