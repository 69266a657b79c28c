import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { freePort, packageEnvironment, packageIsMissing } from 'changeover/testing';

const run = promisify(execFile);
const START_TIMEOUT_MS = 10_000;

/** Why no broker can be started here; null where one can. On Debian, root gets `mosquitto` installed where it is missing. */
export function mosquittoIsMissing(): Promise<string | null> {
  return packageIsMissing('mosquitto', ['mosquitto', 'mosquitto_passwd']);
}

/** A broker on 127.0.0.1 that lets in whoever has the password; what it keeps is gone when it is killed. */
export interface Broker extends AsyncDisposable {
  readonly url: string;
  readonly user: string;
  readonly password: string;
  start(): Promise<void>;
  /** SIGKILL. */
  kill(): Promise<void>;
}

/** It ends when the calling process dies. */
export async function mosquitto(): Promise<Broker> {
  const folder = await mkdtemp(path.join(tmpdir(), 'changeover-mosquitto-'));
  const port = await freePort();
  const [user, password] = ['doorbell', 'a password & more'];
  const [configuration, passwords] = [path.join(folder, 'conf'), path.join(folder, 'passwords')];
  await run('mosquitto_passwd', ['-b', '-c', passwords, user, password], { env: packageEnvironment });
  await writeFile(
    configuration,
    [
      `listener ${port} 127.0.0.1`,
      'allow_anonymous false',
      `password_file ${passwords}`,
      ...(process.getuid?.() === 0 ? ['user root'] : []),
    ].join('\n'),
  );
  let kill = () => Promise.resolve();
  return {
    url: `mqtt://127.0.0.1:${port}`,
    user,
    password,
    start: async () => {
      // The shell's standard input ends with this process, and then the shell ends the broker.
      const script = 'mosquitto -c "$1" </dev/null & read -r _; kill -KILL $!; wait $!';
      const keeper = spawn('/bin/sh', ['-c', script, 'sh', configuration], {
        env: packageEnvironment,
        stdio: ['pipe', 'ignore', 'ignore'],
      });
      const ended = once(keeper, 'exit');
      kill = async () => {
        keeper.stdin.end();
        await ended;
        kill = () => Promise.resolve();
      };
      const deadline = performance.now() + START_TIMEOUT_MS;
      while (!(await answers(port))) {
        if (performance.now() > deadline) throw new Error(`mosquitto did not answer at port ${port}`);
        await sleep(20);
      }
    },
    kill: () => kill(),
    [Symbol.asyncDispose]: async () => {
      await kill();
      await rm(folder, { recursive: true });
    },
  };
}

async function answers(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1');
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false; // not yet
  } finally {
    socket.destroy();
  }
}
