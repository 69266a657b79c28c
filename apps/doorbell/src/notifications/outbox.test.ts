import { createHmac } from 'node:crypto';
import type { ServerResponse } from 'node:http';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { expect, test } from 'vitest';
import { until } from '../../testing/client.ts';
import { openOutbox, receiver } from '../../testing/outbox.ts';

const TOKEN = '123:very-secret';
const SECRET = 'shared & secret';

const telegram = (url: string) => ({
  TELEGRAM_API_URL: url,
  TELEGRAM_BOT_TOKEN: TOKEN,
  TELEGRAM_CHAT_ID: '1',
  WEBHOOK_SECRET: SECRET,
});
const status = (code: number, body: object = {}, headers = {}) => {
  return (response: ServerResponse) => response.writeHead(code, headers).end(JSON.stringify(body));
};
/** As Telegram answers who asks too often. */
const tooMany = (seconds: number) =>
  status(429, {
    ok: false,
    error_code: 429,
    description: `Too Many Requests: retry after ${seconds}`,
    parameters: { retry_after: seconds },
  });
const chatOf = (body: string) => /name="chat_id"\r\n\r\n([^\r]*)/.exec(body)?.[1];
type Box = Awaited<ReturnType<typeof openOutbox>>;
const settled = ({ rows }: Box, statuses: readonly string[]) =>
  until(rows, (all) => JSON.stringify(all.map((row) => row.status)) === JSON.stringify(statuses));

test('a channel that fails does not make another one send twice, and each is in the row', async () => {
  await using chat = await receiver();
  await using hook = await receiver();
  await using box = await openOutbox({
    env: telegram(chat.url),
    notifications: { retry_delay: 0.02, webhook: { url: `${hook.url}/in`, retry_delay: 0.02 } },
  });
  hook.answers.push(status(500), status(503));
  await box.tell('unknown_person_detection', { capture: 'visitor.jpg' });
  await settled(box, ['delivered']);
  expect(chat.received.map(({ path }) => path)).toEqual([`/bot${TOKEN}/sendPhoto`]);
  expect(hook.received).toHaveLength(3);
  expect(new Set(hook.received.map(({ headers }) => headers['x-doorbell-delivery'])).size).toBe(1);
  expect((await box.rows())[0]?.metadata.channels).toMatchObject({
    web: { status: 'delivered', attempts: 1 },
    telegram: { status: 'delivered', attempts: 1, served: ['1'] },
    webhook: { status: 'delivered', attempts: 3 },
  });
});

test('a webhook is signed over its time and its body, and what was forged is told apart', async () => {
  await using hook = await receiver();
  await using box = await openOutbox({
    env: { WEBHOOK_SECRET: SECRET },
    notifications: { webhook: { url: `${hook.url}/in?key=1` } },
  });
  const row = await box.tell('blacklist_detection', { title: '🚨 Ünwanted', personName: 'John' });
  await settled(box, ['delivered']);
  const { headers, body, path } = hook.received[0] ?? expect.fail();
  const bytes = Buffer.from(body, 'latin1');
  const sign = (secret: string) =>
    `sha256=${createHmac('sha256', secret)
      .update(`${String(headers['x-doorbell-timestamp'])}.`)
      .update(bytes)
      .digest('hex')}`;
  expect(path).toBe('/in?key=1');
  expect(headers['x-doorbell-signature']).toBe(sign(SECRET));
  expect(headers['x-doorbell-signature']).not.toBe(sign('another'));
  expect(Math.abs(Date.now() / 1000 - Number(headers['x-doorbell-timestamp']))).toBeLessThan(60);
  expect(JSON.parse(bytes.toString('utf8'))).toMatchObject({
    alert_id: row.alertId,
    alert_type: 'blacklist_detected',
    priority: 'critical',
    title: '🚨 Ünwanted',
    person_name: 'John',
    count: 1,
  });
});

test('a webhook without its secret is refused at the start', async () => {
  await expect(openOutbox({ notifications: { webhook: { url: 'http://127.0.0.1:1/' } } })).rejects.toThrow(
    /WEBHOOK_SECRET/,
  );
});

test('a redirect of a webhook is not followed, and is not tried again', async () => {
  await using hook = await receiver();
  await using other = await receiver();
  await using box = await openOutbox({
    env: { WEBHOOK_SECRET: SECRET },
    notifications: { webhook: { url: hook.url, retry_delay: 0.01 } },
  });
  hook.answers.push(status(307, {}, { location: other.url }));
  await box.tell('unknown_person_detection');
  await settled(box, ['failed']);
  expect([hook.received.length, other.received.length]).toEqual([1, 0]);
});

test('Telegram names the pause, and nothing is sent to it meanwhile', async () => {
  await using chat = await receiver();
  await using box = await openOutbox({
    env: telegram(chat.url),
    notifications: { retry_delay: 0.01, retry_attempts: 1 },
  });
  chat.answers.push(tooMany(1));
  await box.tell('unknown_person_detection', { title: 'first' });
  await until(
    () => Promise.resolve(chat.received.length),
    (count) => count === 1,
  );
  await box.tell('unknown_person_detection', { title: 'second' });
  await settled(box, ['delivered', 'delivered']);
  const [refused, ...rest] = chat.received;
  expect(
    rest.map(
      ({ body }) =>
        Buffer.from(body, 'latin1')
          .toString()
          .match(/first|second/)?.[0],
    ),
  ).toEqual(['first', 'second']);
  for (const { atMs } of rest) expect(atMs - (refused?.atMs ?? 0)).toBeGreaterThan(950);
});

test('the pause that a webhook asks for is kept, also by the next start', async () => {
  await using hook = await receiver();
  const setup = { env: { WEBHOOK_SECRET: SECRET }, notifications: { webhook: { url: hook.url, retry_delay: 0.01 } } };
  hook.answers.push(status(503, {}, { 'retry-after': '1' }));
  await using box = await openOutbox(setup);
  await box.tell('unknown_person_detection');
  await until(box.rows, ([row]) => row?.metadata.channels?.['webhook']?.next !== undefined);
  await box.activity.passivate();
  await using next = await openOutbox({ ...setup, root: box.root });
  await settled(next, ['delivered']);
  expect(hook.received).toHaveLength(2);
  expect((hook.received[1]?.atMs ?? 0) - (hook.received[0]?.atMs ?? 0)).toBeGreaterThan(950);
});

test('a slow channel holds up no other', async () => {
  await using chat = await receiver();
  await using hook = await receiver();
  await using box = await openOutbox({ env: telegram(chat.url), notifications: { webhook: { url: hook.url } } });
  let answer = () => {};
  chat.answers.push((response) => {
    answer = () => response.end('{}');
  });
  for (const title of ['first', 'second', 'third']) await box.tell('unknown_person_detection', { title });
  await until(
    () => Promise.resolve(hook.received.length),
    (count) => count === 3,
  );
  expect(chat.received).toHaveLength(1);
  answer();
  await settled(box, ['delivered', 'delivered', 'delivered']);
  expect(chat.received).toHaveLength(3);
});

test('a chat that refuses keeps nobody else from an alarm, and no failure shows a secret', async () => {
  await using chat = await receiver();
  await using box = await openOutbox({ env: telegram(chat.url), notifications: { emergency_contacts: ['2', '3'] } });
  chat.answers.push(status(403, { description: `bot${TOKEN} was blocked by the user` }));
  await box.tell('blacklist_detection');
  await settled(box, ['failed']);
  expect(chat.received.map(({ body }) => chatOf(body))).toEqual(['1', '2', '3']);
  const [row] = await box.rows();
  expect(row?.metadata.error).toMatch(/Telegram answered 403: .*\[secret\] was blocked/);
  expect(JSON.stringify(row)).not.toContain(TOKEN);
});

test('a server that is not there is told without the address, and the message is given up after its attempts', async () => {
  const gone = await receiver();
  await gone[Symbol.asyncDispose]();
  await using box = await openOutbox({ env: telegram(gone.url), notifications: { retry_delay: 0.01 } });
  await box.tell('unknown_person_detection');
  await settled(box, ['failed']);
  const [row] = await box.rows();
  expect(row?.metadata).toMatchObject({ attempts: 3, error: 'Telegram could not be reached: ECONNREFUSED' });
});

test('critical goes to all channels, a warning to the primary ones, the rest to the minimal ones', async () => {
  await using chat = await receiver();
  await using hook = await receiver();
  await using box = await openOutbox({
    env: telegram(chat.url),
    notifications: { channels: { primary: ['telegram'], minimal: ['web'] }, webhook: { url: hook.url } },
  });
  for (const alert of ['known_person_detection', 'unknown_person_detection', 'blacklist_detection'] as const)
    await box.tell(alert);
  await settled(box, ['delivered', 'delivered', 'delivered']);
  expect((await box.rows()).map(({ metadata }) => Object.keys(metadata.channels ?? {}).sort())).toEqual([
    ['web'],
    ['telegram'],
    ['telegram', 'web', 'webhook'],
  ]);
  expect([chat.received.length, hook.received.length]).toEqual([2, 1]);
});

test('alerts of one type within the window become one message with their count; critical ones do not wait', async () => {
  await using hook = await receiver();
  await using box = await openOutbox({
    env: { WEBHOOK_SECRET: SECRET },
    notifications: { aggregation_enabled: true, aggregation_window: 1, webhook: { url: hook.url } },
  });
  for (const title of ['one', 'two', 'three', 'four']) await box.tell('unknown_person_detection', { title });
  await box.tell('blacklist_detection', { title: 'alarm' });
  await box.tell('blacklist_detection', { title: 'alarm' });
  await settled(box, ['delivered', 'delivered', 'delivered', 'delivered', 'aggregated', 'aggregated']);
  const told = hook.received.map(({ body }) => JSON.parse(body) as { title: string; count: number; message: string });
  expect(told.map(({ title, count }) => [title, count]).sort()).toEqual([
    ['alarm', 1],
    ['alarm', 1],
    ['four (3 times)', 3],
    ['one', 1],
  ]);
  expect(told.at(-1)).toMatchObject({ title: 'four (3 times)', message: 'M\ntwo\nthree' });
});

test('a kind that meets a limit is quiet for its cooldown, and critical alerts pass', async () => {
  await using hook = await receiver();
  await using box = await openOutbox({
    env: { WEBHOOK_SECRET: SECRET },
    notifications: { rate_limiting: { enabled: true, burst_allowance: 2 }, webhook: { url: hook.url } },
  });
  for (let i = 0; i < 4; i++) await box.tell('unknown_person_detection');
  for (let i = 0; i < 4; i++) await box.tell('blacklist_detection');
  await settled(box, [...Array<string>(6).fill('delivered'), 'rate_limited', 'rate_limited']);
  expect(hook.received).toHaveLength(6);
});

test('what a crash left of a folding is finished by the next start, and nobody is told of twice', async () => {
  await using hook = await receiver();
  const setup = {
    env: { WEBHOOK_SECRET: SECRET },
    notifications: { aggregation_enabled: true, webhook: { url: hook.url } },
  };
  await using box = await openOutbox(setup);
  await box.activity.passivate();
  const [first, second, last] = [
    await box.tell('system_alerts'),
    await box.tell('system_alerts'),
    await box.tell('system_alerts'),
  ];
  const ids = [first.alertId, second.alertId];
  // The carrier was stored, and one of two that it tells of.
  await box.storage.updateNotification(last.alertId, 'pending', { ...last.metadata, folded: { ids, titles: ['T'] } });
  await box.storage.updateNotification(first.alertId, 'aggregated', first.metadata);
  await using next = await openOutbox({ ...setup, root: box.root });
  await settled(next, ['delivered', 'aggregated', 'aggregated']);
  expect(hook.received.map(({ body }) => (JSON.parse(body) as { count: number }).count)).toEqual([3]);
});

test('a result that could not be stored is stored later, and nothing is sent again', async () => {
  await using hook = await receiver();
  await using box = await openOutbox({
    env: { WEBHOOK_SECRET: SECRET },
    notifications: { webhook: { url: hook.url } },
  });
  const db = new DatabaseSync(path.join(box.root, 'data/pipeline.db'));
  db.exec("CREATE TRIGGER fence BEFORE UPDATE ON notifications BEGIN SELECT RAISE(ABORT, 'fenced'); END");
  await box.tell('unknown_person_detection');
  await until(
    () => Promise.resolve(hook.received.length),
    (count) => count === 1,
  );
  await until(
    () => Promise.resolve(box.activity.isIdle),
    (isIdle) => isIdle,
  );
  expect((await box.rows()).map((row) => row.status)).toEqual(['pending']);
  db.exec('DROP TRIGGER fence');
  db.close();
  box.notifications.deliver();
  await settled(box, ['delivered']);
  expect(hook.received).toHaveLength(1);
});
