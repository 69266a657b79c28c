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
    const fitting = this.#fitting(lines);
    if (fitting.length === this.#lines.length && fitting.every((line, index) => line === this.#lines[index])) return;
    this.#write('', fitting);
  }

  /** Prints above the region; `lines` replace what it shows. */
  print(text: string, lines: readonly string[] = this.#lines): void {
    this.#write(`${text}\n`, this.#fitting(lines));
  }

  clear(): void {
    if (this.#lines.length === 0) return;
    this.#terminal.stdout.write(this.#erase());
    this.#lines = [];
  }

  #write(above: string, lines: readonly string[]): void {
    this.#terminal.stdout.write(`${this.#erase()}${above}${lines.map((line) => `${line}\n`).join('')}`);
    this.#lines = lines;
  }

  // A region higher than the screen could not be erased again: the cursor does not go above the top.
  #fitting(lines: readonly string[]): readonly string[] {
    return lines.slice(0, Math.max(1, this.#terminal.size().rows - 1));
  }

  #erase(): string {
    return this.#lines.length === 0 ? '' : `${ESC}${this.#lines.length}A\r${ERASE_BELOW}`;
  }
}
