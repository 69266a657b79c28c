import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';

export interface ChildOptions {
  readonly args?: readonly string[];
  /** Added to the environment of this process; `undefined` removes a name. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly cwd?: string;
}

export interface ChildExit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** A node process that a test started. */
export interface Child extends AsyncDisposable {
  readonly pid: number;
  /** Everything that it wrote so far, both streams in the order of arrival. */
  readonly output: () => string;
  /** Resolves when it has ended and all of its output has arrived. Never rejects. */
  readonly exited: Promise<ChildExit>;
  /** The first line of standard output that matches, from the start on. Rejects with the output when it ends or takes longer. */
  line(pattern: RegExp, timeoutMs?: number): Promise<string>;
  /** Sends a signal to exactly this process. With `SIGKILL` or `SIGTERM` it resolves when the process is gone. */
  kill(signal?: NodeJS.Signals): Promise<void>;
}

/** False as soon as a process has ended, also while nobody has taken note of its end (a zombie answers signals still). */
export function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
  } catch {
    return false;
  }
  const stat = `/proc/${pid}/stat`;
  // The state stands behind the name in parentheses, which may hold anything.
  return !existsSync(stat) || readFileSync(stat, 'utf8').split(') ').at(-1)?.startsWith('Z') !== true;
}

const LINE_TIMEOUT_MS = 15_000;
const CONDITION = '--conditions=@changeover/source';
const fromSource = import.meta.url.endsWith('.ts');

const running = new Set<number>();
process.once('exit', () => {
  for (const pid of running) process.kill(pid, 'SIGKILL');
});

// Standard input ends when the starter dies, even by SIGKILL, and the child goes with it. Only the direct child watches: a
// process that it starts with the same node options has another parent.
const watchStarter = `if (process.env.CHANGEOVER_STARTER === String(process.ppid))
  process.stdin.on('end', () => process.kill(process.pid, 'SIGKILL')).resume().unref();`;

/**
 * Starts `file` with this process's node, unbuilt sources included, and collects its output. The child cannot outlive this
 * process; its standard input is not free for use.
 *
 * @example
 * const child = startChild(new URL('./server.ts', import.meta.url).pathname, { env: { PORT: '0' } });
 * const line = await child.line(/^listening on /);
 * await child.kill();
 */
export function startChild(file: string, options: ChildOptions = {}): Child {
  const watch = `data:text/javascript,${encodeURIComponent(watchStarter)}`;
  const child = spawn(process.execPath, ['--import', watch, file, ...(options.args ?? [])], {
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    env: {
      ...process.env,
      NODE_OPTIONS: fromSource ? CONDITION : '',
      CHANGEOVER_STARTER: String(process.pid),
      ...options.env,
    },
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  const { pid } = child;
  if (pid === undefined) throw new Error(`${process.execPath} could not be started`);
  running.add(pid);

  let output = '';
  const lines: string[] = [];
  const listeners = new Set<() => void>();
  const tell = () => {
    for (const listener of listeners) listener();
  };
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (chunk: string) => (output += chunk));
  createInterface({ input: child.stdout }).on('line', (line) => {
    lines.push(line);
    tell();
  });
  let ended: ChildExit | null = null;
  child.once('exit', () => running.delete(pid));
  const exited = once(child, 'close').then(([code, signal]) => {
    ended = { code: code as number | null, signal: signal as NodeJS.Signals | null };
    tell();
    return ended;
  });

  const kill = async (signal: NodeJS.Signals = 'SIGKILL') => {
    child.kill(signal);
    if (signal === 'SIGKILL' || signal === 'SIGTERM') await exited;
  };
  return {
    pid,
    output: () => output,
    exited,
    kill,
    [Symbol.asyncDispose]: () => kill(),
    line: (pattern, timeoutMs = LINE_TIMEOUT_MS) =>
      new Promise((resolve, reject) => {
        const finish = (act: () => void) => {
          clearTimeout(timer);
          listeners.delete(look);
          act();
        };
        const fail = (why: string) => {
          reject(new Error(`${file} (pid ${pid}) ${why} without a line like ${String(pattern)}; it wrote:\n${output}`));
        };
        const look = () => {
          const line = lines.find((candidate) => pattern.test(candidate));
          if (line !== undefined) finish(() => resolve(line));
          else if (ended !== null) finish(() => fail(`ended with ${String(ended?.code ?? ended?.signal)}`));
        };
        const timer = setTimeout(() => finish(() => fail(`ran for ${timeoutMs} ms`)), timeoutMs);
        listeners.add(look);
        look();
      }),
  };
}
