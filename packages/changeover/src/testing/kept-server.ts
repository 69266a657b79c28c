import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import path from 'node:path';

export interface KeptServer {
  /** Process id of the server; another one after a crash. */
  readonly pid: number;
  /** Ends the server as a crash does, and starts it again on the same data. */
  crash(): Promise<void>;
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
  /** How it is ended for good, and how a crash of it ends it. */
  readonly signals: { readonly end: 'INT' | 'KILL'; readonly crash: 'QUIT' | 'KILL' };
  /** Resolves when it answers; throws where it never will. */
  readonly ready: (pid: number) => Promise<void>;
}

/**
 * Starts a server for tests, which ends, and whose folder goes, when the calling process dies. Rejects with its log where it does not start.
 */
export async function keepServer({ name, folder, command, owner, signals, ready }: ServerToKeep): Promise<KeptServer> {
  // The shell outlives a killed parent: its standard input ends with the parent, and then it ends the server. Each line before that is a crash.
  const script = `start() { "$@" </dev/null >/dev/null 2>>"$LOG" & echo $!; }; start "$@"
    while read -r _; do kill -${signals.crash} $!; wait $!; start "$@"; done; kill -${signals.end} $!; wait $!; rm -rf "$FOLDER"`;
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
    await ready(pid);
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
    crash: async () => {
      keeper.stdin.write('\n');
      await started();
    },
    stop,
  };
}
