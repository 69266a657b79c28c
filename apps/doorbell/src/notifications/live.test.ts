import fastify from 'fastify';
import { expect, test } from 'vitest';
import { Live } from './live.ts';

async function serve(options: ConstructorParameters<typeof Live>[0] = {}) {
  const live = new Live(options);
  const app = fastify();
  live.routes(app);
  const address = await app.listen({ host: '127.0.0.1', port: 0 });
  return { live, app, url: `${address}/stream/events`, statusUrl: `${address}/stream/system-status` };
}

/** The frames of a stream as they come. */
async function* frames(url: string): AsyncGenerator<{ event: string; data: Record<string, unknown> }> {
  const { body } = await fetch(url);
  let rest = '';
  for await (const chunk of (body ?? expect.fail()).pipeThrough(new TextDecoderStream())) {
    const parts = (rest + chunk).split('\n\n');
    rest = parts.pop() ?? '';
    for (const part of parts) {
      const field = (name: string) => new RegExp(`^${name}: (.*)$`, 'm').exec(part)?.[1] ?? '';
      expect(field('id')).toMatch(/^\d+$/);
      yield { event: field('event'), data: JSON.parse(field('data')) as Record<string, unknown> };
    }
  }
}

test('a page is greeted, gets what happens and heartbeats, and does not hold up the end', async () => {
  const { live, app, url } = await serve({ heartbeatMs: 20 });
  const stream = frames(url);
  expect((await stream.next()).value).toMatchObject({
    event: 'connected',
    data: {
      client_id: expect.any(String) as string,
      server_time: expect.any(String) as string,
      capabilities: ['events', 'system_status'],
    },
  });
  live.visit({
    type: 'FACE_UNKNOWN',
    eventId: 'a',
    timestamp: 0,
    local: '2026-11-21T08:13:34',
    people: [],
    capture: null,
    recognition: null,
  });
  await live.send({
    alert_id: 'b',
    alert_type: 'system_alert',
    priority: 'warning',
    timestamp: '2026-11-21T08:13:34Z',
    event_id: null,
    title: 'a\n\nb',
    message: '',
    count: 1,
    picture: () => Promise.resolve(null),
  });
  const seen: string[] = [];
  for await (const { event, data } of stream) {
    if (event === 'event') seen.push(String(data['event_type']));
    else expect(data).toEqual({ timestamp: expect.any(String) as string });
    if (event === 'heartbeat' && seen.length === 2) break;
  }
  expect(seen).toEqual(['FACE_UNKNOWN', 'system_alert']);
  const open = frames(url);
  await open.next();
  await app.close();
  let last = await open.next();
  while (last.done !== true) last = await open.next();
  expect(last.done).toBe(true);
});

test('one page too many is told so', async () => {
  const { app, url } = await serve({ maxClients: 1 });
  const first = frames(url);
  await first.next();
  const refused = await fetch(url);
  expect([refused.status, await refused.json()]).toEqual([503, { error: 'SSE not available' }]);
  await first.return(undefined);
  await app.close();
});

test('who watches the system is told how the stream does, and of no visit', async () => {
  const { live, app, url, statusUrl } = await serve({ statusMs: 20 });
  const page = frames(url);
  await page.next();
  const status = frames(statusUrl);
  expect((await status.next()).value).toMatchObject({
    event: 'status_connected',
    data: { client_id: expect.any(String) as string, server_time: expect.any(String) as string },
  });
  const visit = { type: 'FACE_UNKNOWN', eventId: 'a', timestamp: 0, local: '', people: [], capture: null } as const;
  live.visit({ ...visit, recognition: null });
  let seen: Record<string, unknown> = {};
  for await (const { event, data } of status) {
    expect(event).toBe('system_status');
    seen = data;
    if (data['events_streamed'] === 1) break;
  }
  expect(seen).toEqual({
    timestamp: expect.any(String) as string,
    streaming_status: 'active',
    active_connections: 1,
    events_streamed: 1,
    buffer_size: 0,
  });
  await page.return(undefined);
  await app.close();
});
