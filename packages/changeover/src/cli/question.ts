import { createInterface } from 'node:readline/promises';
import type { Terminal } from './terminal.ts';

/** Asks for a yes. Anything else, also the end of the input, is a no; Ctrl-C rejects. */
export async function askYes(terminal: Terminal, question: string, signal: AbortSignal): Promise<boolean> {
  terminal.stdout.write(`${question} [y/N] `);
  if (terminal.stdin.readableEnded) return false;
  // Not a terminal of its own: readline would swallow Ctrl-C.
  const lines = createInterface({ input: terminal.stdin, terminal: false });
  const ended = new Promise<string>((resolve) => {
    lines.once('close', () => {
      resolve('');
    });
  });
  try {
    const answer = await Promise.race([lines.question('', { signal }), ended]);
    return /^\s*y(es)?\s*$/i.test(answer);
  } finally {
    lines.close();
  }
}
