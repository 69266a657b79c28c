import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

export interface KeptServer {
  /** Process id of the server; another one after a crash. */
  readonly pid: number;
  /** Ends the server with this signal, and starts it again on the same data. */
  crash(signal: 'QUIT' | 'KILL'): Promise<void>;
  /** Ends the server and removes its folder. */
  stop(): Promise<void>;
}

export interface ServerToKeep {
  /** What it is called when it does not start. */
  readonly name: string;
  /** Its own folder, which goes with it. Its log is the file `log` there. */
  readonly folder: string;
  readonly command: readonly string[];
  readonly owner?: { readonly uid?: number; readonly gid?: number };
  /** How it is ended for good. */
  readonly end: 'INT' | 'KILL';
  /** Resolves when it answers; throws where it never will. */
  readonly ready: (pid: number) => Promise<void>;
}

/** A killed server may leave processes behind, which keep another one from starting until they have noticed. */
const RESTART_TIMEOUT_MS = 30_000;

/**
 * Starts a server for tests, which ends, and whose folder goes, when the calling process dies. Rejects with its log where it does not start.
 */
export async function keepServer({ name, folder, command, owner, end, ready }: ServerToKeep): Promise<KeptServer> {
  // The shell outlives a killed parent: its standard input ends with the parent, and then it ends the server. Each line before that is the signal of a crash.
  const script = `start() { "$@" </dev/null >/dev/null 2>>"$LOG" & echo $!; }; start "$@"
    while read -r SIGNAL; do kill -"$SIGNAL" $!; wait $!; start "$@"; done; kill -${end} $!; wait $!; rm -rf "$FOLDER"`;
  const keeper = spawn('/bin/sh', ['-c', script, 'sh', ...command], {
    ...owner,
    cwd: folder,
    detached: true,
    stdio: ['pipe', 'pipe', 'ignore'],
    env: { ...process.env, FOLDER: folder, LOG: path.join(folder, 'log') },
  });
  const ended = once(keeper, 'exit');
  const stop = async () => {
    keeper.ref();
    keeper.stdin.end();
    await ended;
  };
  let pid = 0;
  const started = async () => {
    const [line] = (await once(keeper.stdout, 'data')) as [Buffer];
    pid = Number(line.toString());
    const settled = new AbortController();
    try {
      await Promise.race([ready(pid), death(pid, settled.signal)]);
    } finally {
      settled.abort();
    }
  };
  try {
    await started();
  } catch (error) {
    const log = await readFile(path.join(folder, 'log'), 'utf8');
    await stop();
    throw new Error(`${name} did not start:\n${log}`, { cause: error });
  }
  // A test that forgets to stop the server is not kept alive by it.
  keeper.unref();
  (keeper.stdin as unknown as { unref(): void }).unref();
  (keeper.stdout as unknown as { unref(): void }).unref();
  return {
    get pid() {
      return pid;
    },
    crash: async (signal) => {
      const until = performance.now() + RESTART_TIMEOUT_MS;
      for (;;) {
        keeper.stdin.write(`${signal}\n`);
        try {
          await started();
          return;
        } catch (error) {
          if (performance.now() > until) throw error;
          await sleep(50);
        }
      }
    },
    stop,
  };
}

/** Rejects when the process has ended, which nobody has asked its parent about yet; ends with the signal. */
async function death(pid: number, settled: AbortSignal): Promise<void> {
  while (!settled.aborted) {
    const state = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
    if (/\) Z /.test(state)) throw new Error(`process ${pid} has ended`);
    await sleep(20);
  }
}
