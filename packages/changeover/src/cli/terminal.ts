import type { Readable } from 'node:stream';

export interface Sink {
  write(text: string): unknown;
}

/** What the command line runs in. Tests bring their own. */
export interface Terminal {
  readonly stdout: Sink;
  readonly stderr: Sink;
  readonly stdin: Readable;
  /** Somebody looks at stdout: bars and colours instead of plain lines. */
  readonly isTTY: boolean;
  /** Somebody can answer a question. */
  readonly canAsk: boolean;
  readonly isColoured: boolean;
  readonly cwd: string;
  /** Shows where an unexpected error happened. */
  readonly isDebugging: boolean;
  size(): { readonly columns: number; readonly rows: number };
  /** Calls back on Ctrl-C and on SIGTERM; returns what ends that. */
  onInterrupt(listener: () => void): () => void;
  /** Leaves at once. */
  exit(code: number): void;
}

/** The terminal or pipe of this process. */
export function processTerminal(): Terminal {
  const { stdout, stderr, stdin, env } = process;
  const isTTY = stdout.isTTY && env['TERM'] !== 'dumb';
  return {
    stdout: unbreakable(stdout),
    stderr: unbreakable(stderr),
    stdin,
    isTTY,
    canAsk: isTTY && stdin.isTTY,
    isColoured: isTTY && !env['NO_COLOR'],
    cwd: process.cwd(),
    isDebugging: env['CHANGEOVER_DEBUG'] === '1',
    size: () => ({ columns: stdout.columns || 80, rows: stdout.rows || 24 }),
    onInterrupt: (listener) => {
      process.on('SIGINT', listener).on('SIGTERM', listener);
      return () => process.off('SIGINT', listener).off('SIGTERM', listener);
    },
    exit: (code) => process.exit(code),
  };
}

/** A reader that goes away (`changeover run | head`) must not end a run halfway: the rest is written to nobody. */
function unbreakable(stream: NodeJS.WriteStream): Sink {
  let isGone = false;
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error;
    isGone = true;
  });
  return { write: (text) => isGone || stream.write(text) };
}
