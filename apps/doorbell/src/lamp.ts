type Colour = 'red' | 'yellow' | 'green';

const COLOURS = new Map<string, readonly Colour[]>([
  ['idle', ['green']],
  ['processing', ['yellow']],
  ['known', ['green']],
  ['unknown', ['yellow']],
  ['alert', ['red']],
  ['error', ['yellow', 'red']],
  ['off', []],
]);

export type LampResult = 'known' | 'unknown' | 'alert' | 'error' | 'idle';

/** How long an alert or an error stays after a press. */
const RESULT_MS = 1000;

/** The status lamp, without pins. A press under way shows over everything else. */
export class Lamp {
  #status = 'idle';
  #presses = 0;
  #timer: NodeJS.Timeout | undefined;

  get states(): Readonly<Record<Colour, boolean>> {
    const on = COLOURS.get(this.#presses > 0 ? 'processing' : this.#status) ?? [];
    return { green: on.includes('green'), red: on.includes('red'), yellow: on.includes('yellow') };
  }

  /** Shows a status, any unknown word as off; idle again after `durationMs` where it is given. */
  show(status: string, durationMs?: number): void {
    clearTimeout(this.#timer);
    this.#status = status;
    if (durationMs === undefined) return;
    this.#timer = setTimeout(() => {
      this.#status = 'idle';
    }, durationMs).unref();
  }

  pressed(): void {
    this.#presses++;
  }

  done(result: LampResult): void {
    this.#presses--;
    if (result === 'alert' || result === 'error') this.show(result, RESULT_MS);
    else this.show('idle');
  }
}
