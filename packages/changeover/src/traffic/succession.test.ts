import { setTimeout as sleep } from 'node:timers/promises';
import { expect, it } from 'vitest';

import { openRig, requestOn, type Rig } from '../testing/gateway/index.ts';
import { createGateway, type Gateway } from './index.ts';
import { startTimeOf } from './identity.ts';
import { gatewayFolder } from './layout.ts';
import { liveSupervisor } from './succession.ts';

function open(workers: number): Promise<Rig<Gateway>> {
  return openRig(import.meta.resolve('./index.ts'), (parts) => createGateway({ ...parts, workers }));
}

const pidsOf = async (rig: Rig<Gateway>): Promise<number[]> =>
  (await rig.gateway.stats(rig.ctx)).workers.map(({ pid }) => pid);

const supervisorOf = (rig: Rig<Gateway>): number => liveSupervisor({ folder: gatewayFolder(rig.folder) })?.pid ?? 0;

const WAIT = { timeout: 10_000 };

it('service goes on when the supervisor is killed, again and again; a new one appears, and no request fails', async () => {
  await using rig = await open(2);
  let isOver = false;
  const statuses = new Set<number>();
  const client = async (): Promise<void> => {
    const headers = { Connection: 'close' };
    while (!isOver) statuses.add((await fetch(`${rig.url}/slow?ms=5`, { headers })).status);
  };
  const clients = Promise.all(Array.from({ length: 10 }, client));
  for (let turn = 0; turn < 2; turn += 1) {
    const supervisor = supervisorOf(rig);
    const workers = await pidsOf(rig);
    process.kill(supervisor, 'SIGKILL');
    await expect.poll(() => supervisorOf(rig) || supervisor, WAIT).not.toBe(supervisor);
    await expect.poll(async () => (await pidsOf(rig)).filter((pid) => workers.includes(pid)), WAIT).toEqual([]);
  }
  isOver = true;
  await clients;
  expect([...statuses]).toEqual([200]);
  expect(await rig.settled()).toMatchObject({ failed: 0, refused: 0, workers: [{}, {}] });
  await rig.follow({ state: 'HOLD' });
});

it('a worker whose supervisor is replaced finishes its request before it ends', async () => {
  await using rig = await open(1);
  const [pid = 0] = await pidsOf(rig);
  const answer = requestOn(await rig.connect(), '/slow?ms=3000');
  await expect.poll(() => rig.legacy.working()).toBe(1);
  process.kill(supervisorOf(rig), 'SIGKILL');
  await expect.poll(() => pidsOf(rig), WAIT).toHaveLength(2);
  expect(startTimeOf(pid)).not.toBeNull();
  expect(await answer).toMatch(/slow$/);
  await expect.poll(() => startTimeOf(pid), WAIT).toBeNull();
});

it('one worker that is left alone brings a whole gateway back', async () => {
  await using rig = await open(2);
  const [first = 0, second = 0] = await pidsOf(rig);
  process.kill(supervisorOf(rig), 'SIGKILL');
  process.kill(first, 'SIGKILL');
  await sleep(20);
  expect(await requestOn(await rig.connect(), '/echo')).toMatch(/^HTTP\/1.1 200 /);
  await expect.poll(async () => (await pidsOf(rig)).filter((pid) => pid !== second), WAIT).toHaveLength(2);
  process.kill(second, 'SIGKILL');
  expect(await requestOn(await rig.connect(), '/echo')).toMatch(/^HTTP\/1.1 200 /);
});
