import type { OrchestratorSettings } from './orchestrator-settings.ts';

const MS_PER_SECOND = 1000;

/**
 * When a system that ended in an error may start again. Restarts count over a sliding window, and one that succeeds does not wipe out those
 * before it: a system that fails a minute after each start is not started for ever.
 */
export class Recovery {
  #startsMs: number[] = [];

  /** Milliseconds to wait for the next restart, which counts; null where there is to be none. */
  next(nowMs: number, settings: OrchestratorSettings): number | null {
    const { auto_recovery_enabled, max_restart_attempts, restart_window_seconds } = settings;
    const { restart_pause_seconds: pause, restart_cooldown_seconds: cooldown } = settings;
    this.#startsMs = this.#startsMs.filter((at) => nowMs - at < restart_window_seconds * MS_PER_SECOND);
    if (!auto_recovery_enabled || this.#startsMs.length >= max_restart_attempts) return null;
    const restUntilMs = (this.#startsMs.at(-1) ?? -Infinity) + cooldown * MS_PER_SECOND;
    const startMs = Math.max(nowMs + pause * MS_PER_SECOND, restUntilMs);
    this.#startsMs.push(startMs);
    return startMs - nowMs;
  }

  /** Restarts within the window. */
  get attempts(): number {
    return this.#startsMs.length;
  }

  forget(): void {
    this.#startsMs = [];
  }
}
