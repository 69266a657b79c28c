import { randomUUID } from 'node:crypto';
import helmet from '@fastify/helmet';
import fastify, { LogController, type FastifyInstance, type FastifyRequest, type FastifyServerOptions } from 'fastify';
import type { z } from 'zod';
import type { Reload, Settings } from '../config/settings.ts';
import { RuntimeError } from '../errors.ts';
import { AdaptiveLimit, type AdaptiveLimitOptions } from '../security/adaptive-limit.ts';
import { Quota, type QuotaOptions } from '../security/quotas.ts';
import type { Runtime } from '../services/create-runtime.ts';
import { sendError } from './envelope.ts';
import { healthRoutes } from './health-routes.ts';

const MAX_BODY_BYTES = 1 << 20;
const MS_PER_SECOND = 1000;
/** A request id of the client's is taken over where it looks like one. */
const REQUEST_ID = /^[\w.-]{1,100}$/;

export interface HttpOptions {
  readonly runtime: Runtime;
  /** Adds `/settings`, `/settings/schema` and `/settings/reload`. */
  readonly settings?: Settings<z.ZodType>;
  /** Adds `PATCH /settings` for requests of which this is true. Default: settings are not changed over HTTP. */
  readonly mayChangeSettings?: (request: FastifyRequest) => boolean | Promise<boolean>;
  /** Larger bodies are refused with 413. Default 1 MiB. */
  readonly maxBodyBytes?: number;
  /** For each key; `key` names it, default the client's address. Default: none. */
  readonly quota?: QuotaOptions & { readonly key?: (request: FastifyRequest) => string };
  /** Requests at a time, found by their times. `false` for none. */
  readonly concurrency?: AdaptiveLimitOptions | false;
  /** Paths that neither limit holds for. Default `/health` and what is below it. */
  readonly unlimited?: (path: string) => boolean;
  /** Proxies whose `X-Forwarded-For` is believed. Default none. */
  readonly trustProxy?: FastifyServerOptions['trustProxy'];
}

/**
 * A Fastify with one envelope for errors, request ids in every log line, security headers, limits, health and metrics.
 *
 * @example
 * const api = service('api', {
 *   start: async () => {
 *     const app = await createHttp({ runtime });
 *     app.get('/hello', () => ({ hello: 'world' }));
 *     await app.listen({ port: 8080 });
 *     return app;
 *   },
 *   stop: (app) => app.close(),
 * });
 */
export async function createHttp(options: HttpOptions): Promise<FastifyInstance> {
  const { runtime, settings, quota, concurrency, unlimited = isHealth } = options;
  const app = fastify({
    loggerInstance: runtime.log,
    logController: new LogController({ disableRequestLogging: true }),
    bodyLimit: options.maxBodyBytes ?? MAX_BODY_BYTES,
    requestIdHeader: false,
    genReqId: ({ headers }) => {
      const given = headers['x-request-id'];
      return typeof given === 'string' && REQUEST_ID.test(given) ? given : randomUUID();
    },
    forceCloseConnections: 'idle',
    ...(options.trustProxy === undefined ? {} : { trustProxy: options.trustProxy }),
  }) as unknown as FastifyInstance;
  await app.register(helmet);
  app.setErrorHandler(sendError);
  app.setNotFoundHandler((request, reply) => {
    const error = Object.assign(new Error(`there is no ${request.method} ${request.url.split('?')[0]}`), {
      statusCode: 404,
    });
    return sendError(error, request, reply);
  });
  app.addHook('onRequest', (request, reply, done) => {
    reply.header('X-Request-Id', request.id);
    done();
  });
  if (quota !== undefined) addQuota(app, quota, unlimited);
  if (concurrency !== false) addConcurrency(app, new AdaptiveLimit(concurrency), unlimited);
  app.addHook('onResponse', (request, reply, done) => {
    const labels = {
      method: request.method,
      route: request.routeOptions.url ?? 'none',
      status: String(reply.statusCode),
    };
    runtime.metrics.time('http_request_seconds', 'Time of a request', labels, reply.elapsedTime / MS_PER_SECOND);
    done();
  });
  healthRoutes(app, runtime);
  app.get('/metrics', async (_, reply) => {
    const { type, body } = await runtime.metrics.text();
    return reply.type(type).send(body);
  });
  if (settings !== undefined) addSettings(app, settings, options.mayChangeSettings);
  return app;
}

function addQuota(
  app: FastifyInstance,
  options: NonNullable<HttpOptions['quota']>,
  unlimited: (path: string) => boolean,
) {
  const quota = new Quota(options);
  const keyOf = options.key ?? (({ ip }: FastifyRequest) => ip);
  app.addHook('onRequest', async (request, reply) => {
    if (unlimited(request.url)) return;
    const { isAllowed, left, resetMs } = await quota.consume(keyOf(request));
    const resetSeconds = Math.ceil(resetMs / MS_PER_SECOND);
    reply.headers({ 'RateLimit-Limit': quota.limit, 'RateLimit-Remaining': left, 'RateLimit-Reset': resetSeconds });
    if (isAllowed) return;
    reply.header('Retry-After', resetSeconds);
    throw new RuntimeError('RUN_LIMIT_EXCEEDED', { limit: `${quota.limit} requests` });
  });
}

function addConcurrency(app: FastifyInstance, limit: AdaptiveLimit, unlimited: (path: string) => boolean) {
  app.addHook('onRequest', (request, reply, done) => {
    if (unlimited(request.url)) {
      done();
      return;
    }
    const admission = limit.acquire();
    if (admission === null) {
      reply.header('Retry-After', 1);
      done(new RuntimeError('RUN_OVERLOADED', { limit: limit.limit }));
      return;
    }
    // A client that goes away ends its request without an answer.
    reply.raw.once('close', () => {
      admission.release(reply.raw.writableFinished);
    });
    done();
  });
}

function addSettings(app: FastifyInstance, settings: Settings<z.ZodType>, mayChange: HttpOptions['mayChangeSettings']) {
  app.get('/settings', () => ({ settings: settings.describe(), unknown_environment: settings.unknown }));
  app.get('/settings/schema', () => settings.jsonSchema());
  const told = ({ changed, needsRestart }: Reload) => ({ changed, needs_restart: needsRestart });
  app.post('/settings/reload', () => told(settings.reload()));
  if (mayChange === undefined) return;
  app.patch<{ Body: Record<string, unknown> }>(
    '/settings',
    { schema: { body: { type: 'object' } } },
    async (request) => {
      if (!(await mayChange(request))) throw new RuntimeError('RUN_CONFIG_FORBIDDEN', {});
      return told(settings.change(request.body));
    },
  );
}

function isHealth(path: string): boolean {
  return /^\/health(?:[/?]|$)/.test(path);
}
