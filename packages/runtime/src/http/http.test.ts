import { mkdtempSync, rmSync } from 'node:fs';
import { request as httpRequest } from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { FastifyInstance } from 'fastify';
import { pino } from 'pino';
import { afterEach, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { secret } from '../config/secret.ts';
import { Settings } from '../config/settings.ts';
import { createRuntime, type Runtime } from '../services/create-runtime.ts';
import { service, type AnyService } from '../services/service.ts';
import { createHttp, type HttpOptions } from './create-http.ts';
import type { ErrorEnvelope } from './envelope.ts';
import { EventStream } from './stream.ts';

const lines: string[] = [];
const log = pino({ level: 'info' }, { write: (line: string) => void lines.push(line) });
const open: { runtime: Runtime; app: FastifyInstance }[] = [];

async function serve(options: Partial<HttpOptions> = {}, services: readonly AnyService[] = []) {
  const runtime = createRuntime({ services, log });
  await runtime.start();
  const app = await createHttp({ runtime, ...options });
  open.push({ runtime, app });
  return { app, runtime };
}
afterEach(async () => {
  for (const { runtime, app } of open.splice(0)) {
    await app.close();
    await runtime.stop();
  }
});

const fine = service('database', { start: () => 1, health: { check: () => true } });
const bad = (critical: boolean) =>
  service('pictures', {
    critical,
    start: () => 1,
    health: { check: () => ({ status: 'unhealthy', reason: 'disk gone' }) },
  });

describe('errors over HTTP', () => {
  it('have one form, with what a client needs and nothing else', async () => {
    const { app } = await serve();
    app.get('/broken', () => {
      throw new Error('password=hunter2 at db.internal');
    });
    const answer = await app.inject({ url: '/broken', headers: { 'x-request-id': 'abc-1' } });
    const { error } = answer.json<ErrorEnvelope>();
    expect(answer.statusCode).toBe(500);
    expect(error).toMatchObject({
      code: 'SYSTEM_INTERNAL_ERROR',
      status: 500,
      severity: 'critical',
      operation: 'GET /broken',
      request_id: 'abc-1',
    });
    expect(answer.body).not.toContain('hunter2');
    expect(lines.some((line) => line.includes('hunter2') && line.includes('abc-1'))).toBe(true);
  });

  it('name what is wrong with a request', async () => {
    const { app } = await serve();
    const body = { type: 'object', properties: { name: { type: 'string', maxLength: 5 } }, required: ['name'] };
    app.post('/names', { schema: { body } }, () => ({}));
    const answer = await app.inject({ method: 'POST', url: '/names', payload: { name: 'far too long' } });
    expect(answer.statusCode).toBe(400);
    expect(answer.json<ErrorEnvelope>().error.details).toEqual([
      { path: '/name', message: expect.any(String) as string },
    ]);
  });

  it.each([
    ['/nowhere', 'GET', undefined, 404],
    ['/names', 'POST', '{"broken', 400],
    ['/names', 'POST', 'x'.repeat(2000), 413],
  ] as const)('%s %s is answered in the same form', async (url, method, payload, status) => {
    const { app } = await serve({ maxBodyBytes: 1000 });
    app.post('/names', () => ({}));
    const headers = { 'content-type': 'application/json' };
    const answer = await app.inject({ method, url, headers, ...(payload === undefined ? {} : { payload }) });
    expect(answer.statusCode).toBe(status);
    expect(answer.json<ErrorEnvelope>().error.status).toBe(status);
  });

  it('do not take over a request id that is none', async () => {
    const { app } = await serve();
    const answer = await app.inject({ url: '/health/live', headers: { 'x-request-id': 'a\tb "c"' } });
    expect(answer.headers['x-request-id']).toMatch(/^[\w-]{36}$/);
  });

  it('come with the headers that keep a browser safe', async () => {
    const { app } = await serve();
    const { headers } = await app.inject('/health/live');
    expect(headers).toMatchObject({ 'x-content-type-options': 'nosniff', 'x-frame-options': 'SAMEORIGIN' });
    expect(headers['content-security-policy']).toContain("default-src 'self'");
  });
});

describe('health over HTTP', () => {
  it('is ready with all critical services, and says which are degraded', async () => {
    const { app } = await serve({}, [fine, bad(false)]);
    expect((await app.inject('/health/ready')).statusCode).toBe(200);
    const answer = await app.inject('/health');
    expect(answer.json()).toMatchObject({
      system_status: 'degraded',
      total_services: 2,
      unhealthy_services: 1,
      services: { pictures: { status: 'unhealthy', errors: ['disk gone'] } },
    });
  });

  it('is alive and not ready where a critical service is unhealthy', async () => {
    const { app } = await serve({}, [fine, bad(true)]);
    expect((await app.inject('/health/live')).statusCode).toBe(200);
    expect((await app.inject('/health/ready')).statusCode).toBe(503);
    expect((await app.inject('/health')).json()).toMatchObject({ system_status: 'unhealthy', performance_score: 0 });
  });

  it('tells of one service, and of one that there is not', async () => {
    const { app } = await serve({}, [fine]);
    expect((await app.inject('/health/service/database')).json()).toMatchObject({
      service_name: 'database',
      status: 'healthy',
    });
    expect((await app.inject('/health/service/nothing')).statusCode).toBe(404);
    expect((await app.inject('/health/services')).json()).toMatchObject({ total_services: 1 });
    expect((await app.inject('/health/metrics')).json()).toMatchObject({ performance_metrics: { total_errors: 0 } });
    expect((await app.inject('/health/predictive')).json()).toMatchObject({ total_alerts: 0 });
  });

  it('is what Prometheus reads', async () => {
    const { app } = await serve({}, [fine]);
    await app.inject('/health/live');
    const { body } = await app.inject('/metrics');
    expect(body).toContain('service_up{service="database"} 1');
    expect(body).toContain('http_request_seconds_count{method="GET",route="/health/live",status="200"} 1');
  });
});

describe('limits over HTTP', () => {
  it('refuse a client beyond its quota, and say when it may come again', async () => {
    const { app } = await serve({ quota: { requests: 2, perMs: 60_000 } });
    app.get('/work', () => ({}));
    const answers = [await app.inject('/work'), await app.inject('/work'), await app.inject('/work')];
    expect(answers.map(({ statusCode }) => statusCode)).toEqual([200, 200, 429]);
    expect(Number(answers[2]?.headers['retry-after'])).toBeGreaterThan(0);
    expect((await app.inject('/health/ready')).statusCode).toBe(200);
  });

  it('do not believe what a client says of its address', async () => {
    const { app } = await serve({ quota: { requests: 1, perMs: 60_000 } });
    app.get('/work', () => ({}));
    await app.inject({ url: '/work', headers: { 'x-forwarded-for': '10.0.0.1' } });
    const second = await app.inject({ url: '/work', headers: { 'x-forwarded-for': '10.0.0.2' } });
    expect(second.statusCode).toBe(429);
  });

  it('refuse more requests at a time than can be answered, and take them again afterwards', async () => {
    const { app } = await serve({ concurrency: { initial: 2, min: 2 } });
    app.get('/slow', () => sleep(50).then(() => ({})));
    const answers = await Promise.all(Array.from({ length: 5 }, () => app.inject('/slow')));
    expect(answers.filter(({ statusCode }) => statusCode === 503)).toHaveLength(3);
    expect((await app.inject('/slow')).statusCode).toBe(200);
  });
});

describe('settings over HTTP', () => {
  it('are shown without secrets', async () => {
    const schema = z.object({ token: secret().optional(), rate: z.number().default(1) });
    const settings = Settings.load({ schema, prefix: 'X', environment: { X_TOKEN: 'hush' } });
    const { app } = await serve({ settings });
    const answer = await app.inject('/settings');
    expect(answer.json()).toMatchObject({
      settings: [
        { path: 'token', value: '[secret]', from: 'environment' },
        { path: 'rate', value: 1 },
      ],
    });
    expect(answer.body).not.toContain('hush');
    expect((await app.inject({ method: 'POST', url: '/settings/reload' })).json()).toEqual({
      changed: [],
      needs_restart: [],
    });
    expect((await app.inject('/settings/schema')).json()).toMatchObject({ type: 'object' });
  });

  it('are changed by those who may, and by nobody where nobody was named', async () => {
    const folder = mkdtempSync(path.join(tmpdir(), 'runtime-http-'));
    const schema = z.object({ rate: z.number().max(9).default(1) });
    const load = () => Settings.load({ schema, file: path.join(folder, 'service.json'), environment: {} });
    const settings = load();
    const { app } = await serve({
      settings,
      mayChangeSettings: ({ headers }) => headers.authorization === 'Bearer me',
    });
    const patch = (body: unknown, authorization = 'Bearer me') =>
      app.inject({
        method: 'PATCH',
        url: '/settings',
        headers: { authorization, 'content-type': 'application/json' },
        body: JSON.stringify(body),
      });
    const codeOf = (answer: { json(): unknown }) => (answer.json() as ErrorEnvelope).error.code;
    expect((await patch({ rate: 2 })).json()).toEqual({ changed: ['rate'], needs_restart: [] });
    for (const [body, authorization, status, code] of [
      [{ rate: 3 }, 'Bearer you', 403, 'RUN_CONFIG_FORBIDDEN'],
      [{ rate: 10 }, undefined, 400, 'RUN_CONFIG_CHANGE'],
      [{ speed: 1 }, undefined, 400, 'RUN_CONFIG_CHANGE'],
      [[1], undefined, 400, 'VALIDATION_INVALID_INPUT'],
    ] as const) {
      const answer = await patch(body, authorization);
      expect([answer.statusCode, codeOf(answer)]).toEqual([status, code]);
    }
    expect([settings.current.rate, load().current.rate]).toEqual([2, 2]);
    const { app: closed } = await serve({ settings });
    expect((await closed.inject({ method: 'PATCH', url: '/settings', body: { rate: 4 } })).statusCode).toBe(404);
    rmSync(folder, { recursive: true });
  });
});

describe('a stream of events', () => {
  it('reaches every client, says hello, and forgets those that have gone', async () => {
    const stream = new EventStream({ maxClients: 2 });
    const { app } = await serve();
    app.get('/stream', (request, reply) => {
      stream.join(request, reply, { event: 'connected', data: { id: 1 } });
    });
    const address = await app.listen({ host: '127.0.0.1', port: 0 });
    const texts = ['', ''];
    const requests = texts.map((_, index) =>
      httpRequest(`${address}/stream`, (answer) => {
        answer.setEncoding('utf8').on('data', (text: string) => {
          texts[index] = `${texts[index] ?? ''}${text}`;
        });
        answer.on('error', () => undefined);
      }).on('error', () => undefined),
    );
    for (const one of requests) one.end();
    while (texts.some((text) => !text.includes('connected'))) await sleep(5);
    expect((await app.inject('/stream')).statusCode).toBe(429);
    stream.send('press', { by: 'line\nbreak' });
    while (texts.some((text) => !text.includes('press'))) await sleep(5);
    expect(texts[0]).toContain('id: 1\nevent: press\ndata: {"by":"line\\nbreak"}\n\n');
    requests[0]?.destroy();
    while (stream.clients > 1) await sleep(5);
    stream.close();
    requests[1]?.destroy();
  });
});
