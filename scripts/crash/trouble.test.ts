/** What goes wrong around a move in daily life, with real processes: each is told clearly, loses nothing, and can be gone on from. */
import { connect, createServer, type Server, type Socket } from 'node:net';
import { freePort, startPostgres } from 'changeover/testing';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { stateOf } from './invariants-bench.ts';
import { NotesSystem, type StatusLine, type VerbResult } from './system.ts';

vi.setConfig({ testTimeout: 180_000, hookTimeout: 60_000 });

let system: NotesSystem;

async function begin(options: Parameters<typeof NotesSystem.start>[1] = {}): Promise<void> {
  system = await NotesSystem.start('sqlite', options);
  await system.startClient();
}

async function expectVerb(args: readonly string[], code: number): Promise<VerbResult> {
  const result = await system.verb(args);
  expect(result.output.slice(-3000) && result.code, result.output.slice(-3000)).toBe(code);
  return result;
}

/** Whatever happened: no request failed, and nothing that was acknowledged is missing. */
async function expectNothingLost(): Promise<void> {
  const { comparison, failed, failures, isKept } = await system.compare();
  expect(failures.filter((failure) => !failure.includes('database is locked'))).toEqual([]);
  expect({ isKept, comparison }).toMatchObject({ isKept: true });
  expect(comparison.acknowledged).toBeGreaterThan(0);
  expect(failed).toBe(0);
}

function unitPid({ units }: StatusLine, name: string): number {
  const pid = units.find((unit) => unit.name === name)?.pid ?? null;
  if (pid === null) throw new Error(`${name} does not run`);
  return pid;
}

describe('a move', () => {
  beforeEach(() => begin());
  afterEach(() => system.end());

  test('that is begun a second time beside the first is refused with the process that does it', async () => {
    const first = system.begin(['run'], { CHANGEOVER_FAULT: 'data.copy.after_chunk:stop' });
    const { pid = 0 } = first.child;
    await expect.poll(() => stateOf(pid), { timeout: 30_000 }).toBe('T');
    const second = await system.verb(['run']);
    process.kill(pid, 'SIGCONT');
    expect(second.code).not.toBe(0);
    expect(second.output).toContain('CHG_ENGINE_OWNED');
    expect(second.output).toContain(String(pid));
    expect((await first.ended).code).toBe(0);
    await expectNothingLost();
  });

  test('that gets Ctrl-C while it copies goes on with the same command', async () => {
    let copies = 0;
    const run = system.begin(['run'], {}, (text) => {
      if (text.includes('"copyData"') && copies++ === 0) run.child.kill('SIGINT');
    });
    const { code, output } = await run.ended;
    expect(code, output.slice(-2000)).toBe(130);
    expect(lastLine(output)).toMatchObject({ interrupted: true, resume: expect.stringContaining('run') as string });
    expect((await system.status()).side).toBe('legacy');
    await expectVerb(['run'], 0);
    await expectVerb(['cutover'], 0);
    await expectNothingLost();
  });

  test('that gets Ctrl-C while requests are held goes back, and can be tried again', async () => {
    await expectVerb(['run'], 0);
    const cutover = system.begin(['cutover'], {}, (text) => {
      if (text.includes('"state":"HOLD"')) cutover.child.kill('SIGINT');
    });
    const { code, output } = await cutover.ended;
    expect(code, output.slice(-2000)).toBe(130);
    expect(await system.status()).toMatchObject({ side: 'legacy', state: 'LIVE_OLD', hold: 'none' });
    await expectVerb(['cutover'], 0);
    await expectNothingLost();
  });

  test('away from a legacy that has died still loses nothing', async () => {
    await expectVerb(['run'], 0);
    await system.stopClient();
    process.kill(unitPid(await system.status(), 'legacy'), 'SIGKILL');
    await expectVerb(['cutover'], 0);
    expect((await system.status()).side).toBe('next');
    expect((await fetch(`${system.url}/notes?after=&limit=500`)).status).toBe(200);
  });

  test('back to a legacy whose address somebody else has says who, before anything is held', async () => {
    await expectVerb(['run', '--through'], 0);
    await expectNothingLost();
    await system.stopClient();
    const stranger = await listen(system.ports.legacy);
    const { code, output } = await system.verb(['rollback']);
    await new Promise((resolve) => stranger.close(resolve));
    expect(code, output.slice(-2000)).toBe(1);
    expect(output).toContain('CHG_CUTOVER_LEGACY_RUNS');
    expect(output).toContain(String(process.pid));
    expect(await system.status()).toMatchObject({ side: 'next', state: 'LIVE_NEW', hold: 'none' });
    await expectVerb(['rollback'], 0);
    expect((await system.status()).side).toBe('legacy');
  });
});

describe('a move to a Postgres', () => {
  test('that goes away in the middle is told clearly, and the move begins anew when it is back', async () => {
    const postgres = await startPostgres();
    const relay = await Relay.to(Number(new URL(postgres.url).port));
    const url = new URL(postgres.url);
    url.port = String(relay.port);
    await begin({ databaseUrl: url.href });
    try {
      let isGone = false;
      const run = system.begin(['run'], {}, (text) => {
        if (isGone || !text.includes('"copyData"')) return;
        isGone = true;
        relay.goAway();
      });
      const { code, output } = await run.ended;
      expect(isGone).toBe(true);
      expect(code, output.slice(-2000)).toBe(3);
      expect(output).toContain('no connection: connect ECONNREFUSED');
      expect((await system.status()).side).toBe('legacy');
      await relay.comeBack();
      // What the failed run had added is removed first, as it could not be when the store was away; then a new one may begin.
      const undone = await expectVerb(['run'], 1);
      expect(undone.output).toContain('CHG_ENGINE_STEP_FAILED');
      await expectVerb(['run'], 0);
      await expectVerb(['cutover'], 0);
      await expectNothingLost();
    } finally {
      relay.goAway();
      await system.end();
      await postgres.stop();
    }
  });
});

/** What a database behind a network is: it can go away without having died. */
class Relay {
  readonly port: number;
  readonly #to: number;
  readonly #sockets = new Set<Socket>();
  #server: Server | null = null;

  private constructor(port: number, to: number) {
    this.port = port;
    this.#to = to;
  }

  static async to(port: number): Promise<Relay> {
    const relay = new Relay(await freePort(), port);
    await relay.comeBack();
    return relay;
  }

  async comeBack(): Promise<void> {
    this.#server = await listen(this.port, (client) => {
      const server = connect(this.#to, '127.0.0.1');
      for (const socket of [client, server]) {
        this.#sockets.add(socket);
        // One end that breaks takes the other with it, as a network does.
        socket
          .on('error', () => undefined)
          .once('close', () => {
            client.destroy();
            server.destroy();
          });
      }
      client.pipe(server).pipe(client);
    });
  }

  goAway(): void {
    this.#server?.close();
    for (const socket of this.#sockets) socket.destroy();
    this.#sockets.clear();
  }
}

function listen(port: number, onConnection: (socket: Socket) => void = () => undefined): Promise<Server> {
  const server = createServer(onConnection);
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, '127.0.0.1', () => {
      resolve(server);
    });
  });
}

function lastLine(output: string): unknown {
  return JSON.parse(output.trim().split('\n').at(-1) ?? '');
}
