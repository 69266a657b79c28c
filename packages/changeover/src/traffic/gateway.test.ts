import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, it } from 'vitest';

import { openRig, type Rig, type RigOptions } from '../testing/gateway/index.ts';
import { createGateway, type Gateway } from './index.ts';
import { startTimeOf } from './identity.ts';
import { liveSupervisor } from './succession.ts';
import { gatewayFolder } from './layout.ts';
import type { GatewayOptions } from './settings.ts';

function open(changes: Partial<GatewayOptions> = {}, options: RigOptions = {}): Promise<Rig<Gateway>> {
  return openRig(import.meta.resolve('./index.ts'), (parts) => createGateway({ ...parts, ...changes }), options);
}

it('a started gateway forwards, starting it again changes nothing, and stopping it leaves no process', async () => {
  await using rig = await open();
  const [first] = (await rig.gateway.stats(rig.ctx)).workers;
  await rig.gateway.start(rig.ctx);
  expect((await rig.gateway.stats(rig.ctx)).workers.map(({ pid }) => pid)).toContain(first?.pid);
  expect(await (await fetch(`${rig.url}/slow?ms=1`)).text()).toBe('slow');

  expect(await rig.gateway.isRunning(rig.ctx)).toBe(true);
  await rig.gateway.stop(rig.ctx);
  expect(await rig.gateway.isRunning(rig.ctx)).toBe(false);
  expect(startTimeOf(first?.pid ?? 0)).toBeNull();
  await expect(fetch(rig.url)).rejects.toThrow();
  await rig.gateway.start(rig.ctx);
  expect((await fetch(`${rig.url}/echo`)).status).toBe(200);
});

it('stopping lets a request under way finish', async () => {
  await using rig = await open();
  const answer = fetch(`${rig.url}/slow?ms=600`).then((response) => response.text());
  await sleep(200);
  await rig.gateway.stop(rig.ctx);
  expect(await answer).toBe('slow');
});

it('a port in use is refused with the process that has it', async () => {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  await using rig = await open({ listen: { host: '127.0.0.1', port } }, { isStarted: false });
  await expect(rig.gateway.start(rig.ctx)).rejects.toMatchObject({
    code: 'CHG_TRAFFIC_PORT_BUSY',
    message: expect.stringContaining(`process ${process.pid} (`) as string,
  });
  server.close();
});

it.each(['127.0.0.1:5001', 'ftp://127.0.0.1', 'http://127.0.0.1:5001/app', 'http://user@127.0.0.1:1/?q'])(
  'a target like %s is refused when the gateway is made',
  (legacy) => {
    const targets = { legacy, next: 'http://127.0.0.1:5002' };
    const make = (): Gateway =>
      createGateway({ listen: { host: '127.0.0.1', port: 1 }, targets, entry: { supervisor: [], worker: [] } });
    expect(make).toThrow(expect.objectContaining({ code: 'CHG_TRAFFIC_TARGET_INVALID' }) as Error);
  },
);

it('a worker that cannot start is told with the last lines of its log', async () => {
  await using rig = await open({ startDeadlineMs: 4_000 }, { isStarted: false });
  await writeFile(join(rig.folder, 'worker.ts'), `throw new Error('the journal is not there');`);
  await expect(rig.gateway.start(rig.ctx)).rejects.toMatchObject({
    code: 'CHG_TRAFFIC_NO_WORKER',
    message: expect.stringContaining('the journal is not there') as string,
  });
  expect(liveSupervisor({ folder: gatewayFolder(rig.folder) })).toBeNull();
});

it('a gateway that runs with other settings is not taken for this one', async () => {
  await using rig = await open();
  const entry = { supervisor: ['x'], worker: ['y'] };
  const other = createGateway({
    listen: rig.gateway.listen,
    targets: { legacy: rig.next.url, next: rig.legacy.url },
    entry,
  });
  await expect(other.start(rig.ctx)).rejects.toMatchObject({ code: 'CHG_TRAFFIC_RUNNING_DIFFERENTLY' });
});

it('the spec is what the gateway does and not where its scripts lie', async () => {
  await using rig = await open({ workers: 3 }, { isStarted: false });
  expect(rig.gateway.spec).toEqual({
    listen: rig.gateway.listen,
    workers: 3,
    targets: { legacy: rig.legacy.url, next: rig.next.url },
  });
});

it('the supervisor keeps the keeper running and ends it', async () => {
  const keeper = `import { appendFileSync } from 'node:fs';
    appendFileSync(new URL('./keeper.pids', import.meta.url), process.pid + '\\n'); setInterval(() => {}, 1000);`;
  await using rig = await open({}, { keeper });
  const pids = async (): Promise<number[]> =>
    (await readFile(join(rig.folder, 'keeper.pids'), 'utf8')).trim().split('\n').map(Number);
  await expect.poll(pids, { timeout: 10_000 }).toHaveLength(1);
  process.kill((await pids())[0] ?? 0, 'SIGKILL');
  await expect.poll(pids, { timeout: 10_000 }).toHaveLength(2);
  const second = (await pids())[1] ?? 0;
  expect(startTimeOf(second)).not.toBeNull();

  // A new supervisor goes on with the keeper that is there.
  const supervisor = (): number => liveSupervisor({ folder: gatewayFolder(rig.folder) })?.pid ?? 0;
  const killed = supervisor();
  process.kill(killed, 'SIGKILL');
  await expect.poll(() => supervisor() || killed, { timeout: 10_000 }).not.toBe(killed);
  await sleep(300);
  expect(await pids()).toHaveLength(2);

  // Without any supervisor too it is ended with the gateway.
  process.kill(supervisor(), 'SIGKILL');
  await rig.gateway.stop(rig.ctx);
  expect(startTimeOf(second)).toBeNull();
});
