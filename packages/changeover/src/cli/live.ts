import type { Terminal } from './terminal.ts';

const ESC = '\u001b[';
const ERASE_BELOW = `${ESC}0J`;

/** The last lines of a terminal, repainted in place; what is printed goes above them. */
export class LiveRegion {
  readonly #terminal: Terminal;
  #lines: readonly string[] = [];

  constructor(terminal: Terminal) {
    this.#terminal = terminal;
  }

  draw(lines: readonly string[]): void {
    // A region higher than the screen could not be erased again: the cursor does not go above the top.
    const fitting = lines.slice(0, Math.max(1, this.#terminal.size().rows - 1));
    if (fitting.length === this.#lines.length && fitting.every((line, index) => line === this.#lines[index])) return;
    this.#terminal.stdout.write(`${this.#erase()}${fitting.map((line) => `${line}\n`).join('')}`);
    this.#lines = fitting;
  }

  print(text: string): void {
    const below = this.#lines.map((line) => `${line}\n`).join('');
    this.#terminal.stdout.write(`${this.#erase()}${text}\n${below}`);
  }

  clear(): void {
    if (this.#lines.length === 0) return;
    this.#terminal.stdout.write(this.#erase());
    this.#lines = [];
  }

  #erase(): string {
    return this.#lines.length === 0 ? '' : `${ESC}${this.#lines.length}A\r${ERASE_BELOW}`;
  }
}
