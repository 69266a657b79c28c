import { once } from 'node:events';
import { mkdtemp } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { packageEnvironment, packageIsMissing } from './debian-package.ts';
import { keepServer } from './kept-server.ts';
import { freePort } from './ports.ts';

export interface ThrowawayNats {
  /** `127.0.0.1:4222` */
  readonly address: string;
  /** Kills the server with SIGKILL, starts it again on the same address and data, and resolves when it answers. */
  crash(): Promise<void>;
  /** Ends the server and removes its folder. */
  stop(): Promise<void>;
}

const START_TIMEOUT_MS = 20_000;
const ATTEMPTS = 3;

/** Why no NATS server can be started here; null where one can. On Debian, root gets `nats-server` installed where it is missing. */
export function natsIsMissing(): Promise<string | null> {
  return packageIsMissing('nats-server');
}

/**
 * Starts a throwaway NATS server with JetStream on a free port of 127.0.0.1. It ends, and its folder goes, when the calling process dies.
 *
 * @example
 * const nats = await startNats();
 * const connection = await connect({ servers: nats.address });
 * // …
 * await nats.stop();
 */
export async function startNats(): Promise<ThrowawayNats> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await launch();
    } catch (error) {
      // Another process may have taken the free port between the look and the start.
      if (attempt === ATTEMPTS) throw error;
    }
  }
}

async function launch(): Promise<ThrowawayNats> {
  const folder = await mkdtemp(path.join(tmpdir(), 'changeover-nats-'));
  const port = await freePort();
  const settings = ['-a', '127.0.0.1', '-p', String(port), '-js', '-sd', path.join(folder, 'data')];
  const server = await keepServer({
    name: 'nats-server',
    folder,
    command: ['/usr/bin/env', `PATH=${packageEnvironment.PATH}`, 'nats-server', ...settings],
    end: 'KILL',
    ready: () => answers(port),
  });
  return { address: `127.0.0.1:${port}`, crash: () => server.crash('KILL'), stop: () => server.stop() };
}

/** The first line of a server comes when it is ready. */
async function answers(port: number): Promise<void> {
  const deadline = performance.now() + START_TIMEOUT_MS;
  for (;;) {
    const socket = connect(port, '127.0.0.1');
    try {
      await once(socket, 'data');
      return;
    } catch (error) {
      if (performance.now() > deadline) throw error;
      await sleep(20);
    } finally {
      socket.destroy();
    }
  }
}
