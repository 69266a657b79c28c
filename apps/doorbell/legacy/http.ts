import type { PythonInput } from 'changeover/python';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { flaskJson } from './flask-json.ts';

/** An answer other than 200. */
export class HttpError extends Error {
  readonly status: number;
  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/** Sends a body as Flask would. */
export function send(reply: FastifyReply, body: PythonInput, status = 200): FastifyReply {
  return reply.code(status).type('application/json').send(flaskJson(body));
}

/** The JSON object of a request, or null where there is none. */
export function jsonBody(request: FastifyRequest): Readonly<Record<string, unknown>> | null {
  if (!/^application\/json\b/i.test(request.headers['content-type'] ?? '') || !Buffer.isBuffer(request.body))
    return null;
  try {
    const body: unknown = JSON.parse(request.body.toString('utf8'));
    return typeof body === 'object' && body !== null && !Array.isArray(body) ? (body as Record<string, unknown>) : null;
  } catch {
    return null; // the callers say what they wanted
  }
}
