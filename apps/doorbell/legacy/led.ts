/** What the lamp can say. Any other word switches it off. */
const COLOURS = new Map<string, readonly Colour[]>([
  ['idle', ['green']],
  ['processing', ['yellow']],
  ['known', ['green']],
  ['unknown', ['yellow']],
  ['alert', ['red']],
  ['error', ['yellow', 'red']],
  ['off', []],
]);

type Colour = 'red' | 'yellow' | 'green';

/** How long red stays after a press; the other results look like processing or idle. */
const RESULT_MS = 1000;

/**
 * The status lamp, without pins. While a press is processed yellow is on, whatever else was asked for: it is the only sign,
 * from the press until its line is in the log, that something acknowledged is still only in memory.
 */
export class Led {
  #status = 'idle';
  #processing = false;
  #timer: NodeJS.Timeout | undefined;

  get states(): Readonly<Record<Colour, boolean>> {
    const on = COLOURS.get(this.#processing ? 'processing' : this.#status) ?? [];
    return { green: on.includes('green'), red: on.includes('red'), yellow: on.includes('yellow') };
  }

  /** Shows a status; back to idle after `durationMs` where it is given. */
  show(status: string, durationMs: number | null = null): void {
    clearTimeout(this.#timer);
    this.#status = status;
    if (durationMs === null) return;
    this.#timer = setTimeout(() => {
      this.#status = 'idle';
    }, durationMs);
    this.#timer.unref();
  }

  startProcessing(): void {
    this.#processing = true;
  }

  endProcessing(result: 'known' | 'unknown' | 'alert' | 'error' | 'idle'): void {
    this.#processing = false;
    if (result === 'alert' || result === 'error') this.show(result, RESULT_MS);
    else this.show('idle');
  }
}
