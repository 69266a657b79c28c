import { inspect } from 'node:util';
import { connectAsync } from 'mqtt';
import { beforeAll, expect, test } from 'vitest';
import { until } from '../../testing/client.ts';
import { type Broker, mosquitto, mosquittoIsMissing } from '../../testing/mosquitto.ts';
import { openOutbox } from '../../testing/outbox.ts';

let missing: string | null = null;
beforeAll(async () => {
  missing = await mosquittoIsMissing();
}, 300_000);

const setup = ({ url, user, password }: Broker, more: object = {}) => ({
  env: { MQTT_PASSWORD: password },
  notifications: { mqtt: { url, username: user, topic: 'house/door', reconnect_delay: 0.05, ...more } },
});

/** Another client, as Home Assistant is one; `seen` is what it gets, `[topic, payload, retained]`. */
async function listener({ url, user: username, password }: Broker) {
  const seen: [string, string, boolean][] = [];
  const client = await connectAsync(url, { username, password, reconnectPeriod: 50 });
  client.on('message', (topic, payload, { retain }) => seen.push([topic, payload.toString(), retain]));
  client.on('error', () => undefined);
  await client.subscribeAsync('#', { qos: 1 });
  return {
    seen,
    of: (topic: string) => seen.filter(([name]) => name === topic).map(([, payload]) => payload),
    [Symbol.asyncDispose]: async () => {
      await client.endAsync(true);
    },
  };
}
const soon = <T>(look: () => T, is: (value: T) => boolean) => until(() => Promise.resolve(look()), is);

test('a ring reaches Home Assistant as event, visitor and picture of a device that it discovers', async ({ skip }) => {
  if (missing !== null) skip(missing);
  await using broker = await mosquitto();
  await broker.start();
  await using house = await listener(broker);
  await using box = await openOutbox(setup(broker));
  await box.tell('known_person_detection', { personName: 'Zoë', confidence: 0.9, capture: 'visitor.jpg' });
  await soon(
    () => house.of('house/door/ring'),
    (rings) => rings.length === 1,
  );
  const [found] = house.of('homeassistant/device/doorbell/config');
  const { components, availability_topic } = JSON.parse(found ?? '') as {
    components: Record<string, { platform: string; unique_id: string; state_topic?: string; image_topic?: string }>;
    availability_topic: string;
  };
  expect(Object.values(components).map(({ platform }) => platform)).toEqual(['event', 'sensor', 'image']);
  expect(house.of(availability_topic)).toEqual(['online']);
  expect(JSON.parse(house.of(components['ring']?.state_topic ?? '')[0] ?? '')).toMatchObject({
    event_type: 'ring',
    visitor: 'Zoë',
    confidence: 0.9,
  });
  expect(JSON.parse(house.of(components['visitor']?.state_topic ?? '')[0] ?? '')).toMatchObject({ visitor: 'Zoë' });
  expect(house.of(components['picture']?.image_topic ?? '')).toEqual(['picture']);
  // Who comes later is told who was there, and is not told that it rings.
  await using late = await listener(broker);
  await soon(
    () => late.seen.length,
    (count) => count >= 4,
  );
  expect(late.seen.map(([topic]) => topic).sort()).toEqual([
    'homeassistant/device/doorbell/config',
    'house/door/availability',
    'house/door/picture',
    'house/door/visitor',
  ]);
  await box.activity.passivate();
  await soon(
    () => late.of('house/door/availability'),
    (states) => states.at(-1) === 'offline',
  );
});

test('a test message and an alert of the system ring nobody', async ({ skip }) => {
  if (missing !== null) skip(missing);
  await using broker = await mosquitto();
  await broker.start();
  await using house = await listener(broker);
  await using box = await openOutbox(setup(broker));
  await soon(
    () => house.of('house/door/availability'),
    (states) => states.length === 1,
  );
  const row = box.notifications.prepare('test', { title: 'T', message: 'M' }) ?? expect.fail();
  await until(
    () => box.notifications.deliverNow({ ...row, alertId: String(Math.random()) }),
    (isDelivered) => isDelivered,
  );
  await soon(
    () => house.of('house/door/notification'),
    (all) => all.length > 0,
  );
  expect(house.of('house/door/ring')).toEqual([]);
});

test('what is told while the broker is away at the start arrives once when it is there', async ({ skip }) => {
  if (missing !== null) skip(missing);
  await using broker = await mosquitto();
  await using box = await openOutbox(setup(broker));
  await box.tell('unknown_person_detection');
  await until(box.rows, ([row]) => row?.metadata.channels?.['mqtt'] !== undefined);
  expect((await box.rows())[0]).toMatchObject({
    status: 'pending',
    metadata: {
      attempts: 1,
      channels: { web: { status: 'delivered', attempts: 1 }, mqtt: { status: 'pending', attempts: 0 } },
    },
  });
  await broker.start();
  await until(box.rows, ([row]) => row?.status === 'delivered');
  await using house = await listener(broker);
  await soon(
    () => house.of('house/door/visitor'),
    (all) => all.length === 1,
  );
});

test('a broker that is killed in between gets the rest, each once, and the device anew', async ({ skip }) => {
  if (missing !== null) skip(missing);
  await using broker = await mosquitto();
  await broker.start();
  await using house = await listener(broker);
  await using box = await openOutbox(setup(broker));
  await box.tell('unknown_person_detection', { title: 'before' });
  await until(box.rows, ([row]) => row?.status === 'delivered');
  await broker.kill();
  await box.tell('unknown_person_detection', { title: 'while' });
  await until(box.rows, (rows) => rows.some(({ metadata }) => metadata.error?.includes('away') === true));
  await broker.start();
  await until(box.rows, (rows) => rows.every(({ status }) => status === 'delivered'));
  await box.tell('unknown_person_detection', { title: 'after' });
  await until(box.rows, (rows) => rows.length === 3 && rows.every(({ status }) => status === 'delivered'));
  const titles = () => house.of('house/door/notification').map((text) => (JSON.parse(text) as { title: string }).title);
  await soon(titles, (all) => all.includes('after'));
  // The listener may have come back too late for the one in the middle; nobody got one twice.
  expect(titles().filter((title) => title !== 'while')).toEqual(['before', 'after']);
  expect(titles().filter((title) => title === 'while').length).toBeLessThanOrEqual(1);
  await using late = await listener(broker);
  await soon(
    () => late.of('homeassistant/device/doorbell/config'),
    (all) => all.length === 1,
  );
});

test('a doorbell that is cut off is offline by its last will', async ({ skip }) => {
  if (missing !== null) skip(missing);
  await using broker = await mosquitto();
  await broker.start();
  await using house = await listener(broker);
  await using box = await openOutbox(setup(broker, { reconnect_delay: 60 }));
  await soon(
    () => house.of('house/door/availability'),
    (states) => states.at(-1) === 'online',
  );
  // Somebody else under the same name: the broker cuts the doorbell off.
  const { url, user: username, password } = broker;
  const thief = await connectAsync(url, { username, password, clientId: 'doorbell' });
  await soon(
    () => house.of('house/door/availability'),
    (states) => states.at(-1) === 'offline',
  );
  await thief.endAsync();
  await box.tell('unknown_person_detection');
  await until(box.rows, ([row]) => row?.metadata.channels?.['mqtt']?.error?.includes('away') === true);
});

test('a wrong password is told without it, and the message is given up when it is too old', async ({ skip }) => {
  if (missing !== null) skip(missing);
  await using broker = await mosquitto();
  await broker.start();
  const { notifications } = setup(broker);
  await using box = await openOutbox({
    env: { MQTT_PASSWORD: 'not-the-password' },
    notifications: { ...notifications, expire_after: 1, retry_delay: 0.1 },
  });
  await box.tell('unknown_person_detection');
  await until(box.rows, ([row]) => row?.status === 'failed');
  const [row] = await box.rows();
  expect(row?.metadata.error).toMatch(/^The MQTT broker is away/);
  expect(JSON.stringify(row) + inspect(box.notifications, { depth: 10 })).not.toContain('not-the-password');
});

test('a side that becomes passive and active again at once is connected', async ({ skip }) => {
  if (missing !== null) skip(missing);
  await using broker = await mosquitto();
  await broker.start();
  await using house = await listener(broker);
  await using box = await openOutbox(setup(broker));
  await soon(
    () => house.of('house/door/availability'),
    (states) => states.at(-1) === 'online',
  );
  const passive = box.activity.passivate();
  box.activity.activate();
  await passive;
  await box.tell('unknown_person_detection');
  await until(box.rows, ([row]) => row?.status === 'delivered');
  await soon(
    () => house.of('house/door/availability'),
    (states) => states.join(' ') === 'online offline online',
  );
});
