/** Work was asked of a side that does not own devices and writes at the moment. */
export class PassiveSide extends Error {
  override readonly name = 'PassiveSide';
  constructor() {
    super('This side is passive: it answers reads, and has no camera, no messages and no writes');
  }
}

/**
 * Whether this process owns devices, messages and writes, and how much of that work is under way. Everything that is acknowledged
 * before it is stored counts as under way until it is stored.
 */
export class Activity {
  #isActive: boolean;
  #underWay = 0;
  #waiting: (() => void)[] = [];
  readonly #onChange: ((isActive: boolean) => void)[] = [];

  constructor(isActive: boolean) {
    this.#isActive = isActive;
  }

  get isActive(): boolean {
    return this.#isActive;
  }

  get isIdle(): boolean {
    return this.#underWay === 0;
  }

  /** Called with every change, for timers. */
  onChange(listener: (isActive: boolean) => void): void {
    this.#onChange.push(listener);
  }

  /** Runs work that writes or uses a device. Throws {@link PassiveSide} on a passive side. */
  async run<T>(work: () => Promise<T>): Promise<T> {
    if (!this.#isActive) throw new PassiveSide();
    return this.goOn(work);
  }

  /** Runs the rest of work that was accepted inside {@link run}: it is finished even where the side became passive meanwhile. */
  async goOn<T>(work: () => Promise<T>): Promise<T> {
    this.#underWay++;
    try {
      return await work();
    } finally {
      this.#underWay--;
      if (this.isIdle) for (const resolve of this.#waiting.splice(0)) resolve();
    }
  }

  activate(): void {
    this.#change(true);
  }

  /** Refuses new work and resolves when nothing is under way. */
  async passivate(): Promise<void> {
    this.#change(false);
    if (this.isIdle) return;
    await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  #change(isActive: boolean): void {
    if (this.#isActive === isActive) return;
    this.#isActive = isActive;
    for (const listener of this.#onChange) listener(isActive);
  }
}
