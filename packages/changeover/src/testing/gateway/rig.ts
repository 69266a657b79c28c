import { writeFileSync } from 'node:fs';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import type { Authority } from '../../plan/authority.ts';
import type { Context } from '../../plan/context.ts';
import type { GatewayPort } from '../../plan/ports.ts';
import type { Side } from '../../plan/words.ts';
import { freePort } from '../ports.ts';
import { tempFolder } from '../temp.ts';
import { AuthorityFile } from './authority-file.ts';
import { startBackend, type Backend } from './backend.ts';

/** What the rig gives to the function that makes the gateway under test. */
interface RigParts {
  readonly listen: { readonly host: string; readonly port: number };
  readonly targets: Readonly<Record<Side, string>>;
  readonly entry: {
    readonly supervisor: readonly string[];
    readonly worker: readonly string[];
    readonly keeper?: readonly string[];
  };
}

export interface RigOptions {
  /** Program of a keeper process. */
  readonly keeper?: string;
  readonly isStarted?: boolean;
}

/** A gateway of real processes between this process and two real backends. */
export interface Rig<Gateway extends GatewayPort> extends AsyncDisposable {
  readonly gateway: Gateway;
  readonly ctx: Context;
  readonly folder: string;
  readonly port: number;
  readonly url: string;
  readonly authority: AuthorityFile;
  readonly legacy: Backend;
  readonly next: Backend;
  /** Changes the authority and waits until every worker follows. */
  follow(change: Partial<Authority>, deadlineMs?: number): Promise<void>;
  /** Waits until every report is as fresh as the counts. */
  settled(): ReturnType<Gateway['stats']>;
  /** A bare connection to the gateway. */
  connect(): Promise<Socket>;
}

/**
 * `make` creates the gateway; `module` is the URL of a module beside `supervisor.ts` and `worker.ts`.
 *
 * @example
 * await using rig = await openRig(import.meta.resolve('./index.ts'), (parts) => createGateway({ ...parts, workers: 2 }));
 * await fetch(`${rig.url}/echo`);
 */
export async function openRig<Gateway extends GatewayPort>(
  module: string,
  make: (parts: RigParts) => Gateway,
  options: RigOptions = {},
): Promise<Rig<Gateway>> {
  const temp = await tempFolder('changeover-gateway-');
  const folder = temp.path;
  const legacy = await startBackend();
  const next = await startBackend();
  const authority = new AuthorityFile(join(folder, 'authority.json'));
  const listen = { host: '127.0.0.1', port: await freePort() };
  const gateway = make({
    listen,
    targets: { legacy: legacy.url, next: next.url },
    entry: writeEntries(folder, module, authority.path, options.keeper),
  });
  const ctx = contextFor(folder);
  const close = async (): Promise<void> => {
    await gateway.stop(ctx);
    await legacy[Symbol.asyncDispose]();
    await next[Symbol.asyncDispose]();
    await temp.remove();
  };
  try {
    if (options.isStarted !== false) await gateway.start(ctx);
  } catch (error) {
    await close();
    throw error;
  }
  return {
    gateway,
    ctx,
    folder,
    port: listen.port,
    url: `http://${listen.host}:${listen.port}`,
    authority,
    legacy,
    next,
    follow: async (change, deadlineMs = 5_000) => {
      await gateway.acknowledged(ctx, authority.set(change), ctx.clock.monotonicMs() + deadlineMs);
    },
    // Longer than a worker's heartbeat.
    settled: () => sleep(400).then(() => gateway.stats(ctx)) as ReturnType<Gateway['stats']>,
    connect: async () => {
      const socket = connect(listen.port, listen.host);
      await once(socket, 'connect');
      return socket;
    },
    [Symbol.asyncDispose]: close,
  };
}

function writeEntries(
  folder: string,
  module: string,
  authority: string,
  keeper: string | undefined,
): RigParts['entry'] {
  const source = import.meta.resolve('./authority-file.ts');
  const write = (name: string, text: string): string[] => {
    const file = join(folder, `${name}.ts`);
    writeFileSync(file, text);
    return ['--conditions=@changeover/source', file];
  };
  return {
    supervisor: write(
      'supervisor',
      `import { runSupervisor } from '${new URL('./supervisor.ts', module).href}';\nawait runSupervisor();\n`,
    ),
    worker: write(
      'worker',
      `import { openAuthorityFile } from '${source}';\nimport { runWorker } from '${new URL('./worker.ts', module).href}';\n` +
        `await runWorker({ source: openAuthorityFile(${JSON.stringify(authority)}) });\n`,
    ),
    ...(keeper === undefined ? {} : { keeper: write('keeper', keeper) }),
  };
}

function contextFor(folder: string): Context {
  return {
    root: folder,
    stateDir: folder,
    runId: 'test',
    epoch: 1,
    liveSide: null,
    signal: new AbortController().signal,
    faults: { at: () => undefined },
    clock: {
      wallMs: () => Date.now(),
      monotonicMs: () => Number(process.hrtime.bigint() / 1_000n) / 1_000,
      bootId: () => 'test',
      sleep: (ms) => sleep(ms),
    },
    report: { progress: () => undefined, warn: () => undefined, log: () => undefined },
  };
}

/** Asks over a connection that is already open, to its end; null when it is reset before an answer. */
export async function requestOn(socket: Socket, path: string): Promise<string | null> {
  let text = '';
  socket.on('data', (chunk) => (text += chunk.toString('latin1')));
  const closed = new Promise((resolve) => {
    socket.on('error', resolve).on('close', resolve);
  });
  socket.write(`GET ${path} HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n\r\n`);
  await closed;
  return text === '' ? null : text;
}
