import { setTimeout as sleep } from 'node:timers/promises';
import { expect, it } from 'vitest';

import { openRig, requestOn, type Rig } from '../testing/gateway/index.ts';
import { createGateway, type Gateway } from './index.ts';
import type { GatewayOptions } from './settings.ts';

function open(changes: Partial<GatewayOptions>): Promise<Rig<Gateway>> {
  return openRig(import.meta.resolve('./index.ts'), (parts) => createGateway({ ...parts, ...changes }));
}

const pidsOf = async (rig: Rig<Gateway>): Promise<number[]> =>
  (await rig.gateway.stats(rig.ctx)).workers.map(({ pid }) => pid);

it('when the only worker is killed, 50 connections that wait in the kernel are all served by the next one', async () => {
  await using rig = await open({ workers: 1 });
  const [pid = 0] = await pidsOf(rig);
  const inside = requestOn(await rig.connect(), '/slow?ms=5000');
  await expect.poll(async () => (await rig.gateway.stats(rig.ctx)).inFlight.legacy).toBe(1);
  process.kill(pid, 'SIGSTOP');
  const sockets = await Promise.all(Array.from({ length: 50 }, () => rig.connect()));
  const answers = sockets.map((socket) => requestOn(socket, '/echo'));
  await sleep(100);
  process.kill(pid, 'SIGKILL');
  const got = await Promise.all(answers);
  expect(got.filter((text) => text?.startsWith('HTTP/1.1 200 ') === true)).toHaveLength(50);
  expect(await inside).toBeNull();
  expect(await rig.settled()).toMatchObject({ accepted: 51, completed: 50, failed: 1 });
});

it('a killed worker is replaced, and nobody waits for it to follow', async () => {
  await using rig = await open({ workers: 2 });
  for (let turn = 0; turn < 3; turn += 1) {
    const [pid = 0] = await pidsOf(rig);
    process.kill(pid, 'SIGKILL');
    await rig.follow({ state: 'HOLD' });
    const held = requestOn(await rig.connect(), '/echo');
    await sleep(50);
    expect(rig.legacy.seen).toHaveLength(turn);
    await rig.follow({ state: 'LIVE_OLD' });
    expect(await held).toMatch(/^HTTP\/1.1 200 /);
    await expect.poll(() => pidsOf(rig), { timeout: 10_000 }).toHaveLength(2);
  }
});
