import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify';
import { RuntimeError } from '../errors.ts';

const RETRY_AFTER_SECONDS = 30;

/** What every answer that is not a success holds. */
export interface ErrorEnvelope {
  readonly error: {
    readonly code: string;
    readonly message: string;
    readonly status: number;
    readonly severity: 'low' | 'medium' | 'high' | 'critical';
    /** Method and route. */
    readonly operation: string;
    /** Seconds since the Unix epoch. */
    readonly timestamp: number;
    readonly request_id: string;
    readonly retry_after?: number;
    readonly details?: readonly { readonly path: string; readonly message: string }[];
  };
}

const CODES: Readonly<Record<number, string>> = {
  400: 'VALIDATION_INVALID_INPUT',
  401: 'AUTH_TOKEN_INVALID',
  403: 'AUTH_INSUFFICIENT_PERMISSIONS',
  404: 'BUSINESS_RESOURCE_NOT_FOUND',
  409: 'BUSINESS_RESOURCE_CONFLICT',
  413: 'VALIDATION_VALUE_TOO_LONG',
  429: 'SECURITY_RATE_LIMIT',
  503: 'SYSTEM_SERVICE_UNAVAILABLE',
  504: 'SYSTEM_TIMEOUT',
};

/**
 * The envelope of a failure. What is not meant for clients, the text of an unexpected error, stays in the log.
 *
 * @param error A `RuntimeError`, an error of Fastify, or anything else, which is a 500.
 */
export function envelopeOf(error: unknown, request: FastifyRequest): ErrorEnvelope {
  const status = statusOf(error);
  const known: RuntimeError | null = error instanceof RuntimeError ? error : null;
  const isTold = known !== null || status < 500;
  const validation = error instanceof Error ? (error as Partial<FastifyError>).validation : undefined;
  const retryAfter = status === 503 ? RETRY_AFTER_SECONDS : undefined;
  return {
    error: {
      code: known?.code ?? CODES[status] ?? (status < 500 ? 'VALIDATION_INVALID_INPUT' : 'SYSTEM_INTERNAL_ERROR'),
      message:
        isTold && error instanceof Error
          ? error.message
          : 'Something went wrong here; the log has it under this request_id',
      status,
      severity:
        status >= 500 ? (status === 500 ? 'critical' : 'high') : status === 401 || status === 403 ? 'medium' : 'low',
      operation: `${request.method} ${request.routeOptions.url ?? pathOf(request)}`,
      timestamp: Date.now() / 1000,
      request_id: request.id,
      ...(retryAfter === undefined ? {} : { retry_after: retryAfter }),
      ...(validation === undefined
        ? {}
        : { details: validation.map((one) => ({ path: one.instancePath, message: one.message ?? '' })) }),
    },
  };
}

export async function sendError(error: unknown, request: FastifyRequest, reply: FastifyReply): Promise<void> {
  const envelope = envelopeOf(error, request);
  const { status, retry_after: retryAfter } = envelope.error;
  if (status >= 500) request.log.error({ err: error }, 'a request failed');
  if (retryAfter !== undefined && !reply.hasHeader('Retry-After')) reply.header('Retry-After', retryAfter);
  await reply.code(status).send(envelope);
}

function pathOf({ url }: FastifyRequest): string {
  return url.split('?', 1)[0] ?? url;
}

function statusOf(error: unknown): number {
  if (error instanceof RuntimeError) return error.status;
  const status = (error as Partial<FastifyError> | null)?.statusCode;
  return typeof status === 'number' && status >= 400 && status < 600 ? status : 500;
}
