import { cpus, totalmem } from 'node:os';

const MICROS_PER_MS = 1000;

/** How busy the machine and this process were since the last measure. */
export interface Load {
  /** Percent of all cores of the machine, whoever used them. */
  readonly cpuPercent: number;
  /** Percent of all cores that this process used. */
  readonly processCpuPercent: number;
  /** Percent of what the process may use: of the machine, or of its container where that has a limit. */
  readonly memoryPercent: number;
  /** Bytes of this process. */
  readonly processMemoryBytes: number;
}

interface Times {
  readonly idle: number;
  readonly all: number;
}

/** Measures the load over the time between two measures; the first is over the time since it was made. */
export class LoadMeter {
  #times = times();
  #own = process.cpuUsage();
  #atMs = performance.now();
  #last: Load | null = null;

  measure(): Load {
    const before = this.#times;
    const now = times();
    const atMs = performance.now();
    const tookMs = atMs - this.#atMs;
    const total = now.all - before.all;
    // Below one tick of the kernel nothing has been counted yet.
    if (this.#last !== null && total <= 0) return this.#last;
    const own = process.cpuUsage(this.#own);
    const ownMs = (own.user + own.system) / MICROS_PER_MS;
    this.#times = now;
    this.#atMs = atMs;
    this.#own = process.cpuUsage();
    const limit = memoryLimit();
    this.#last = {
      cpuPercent: total <= 0 ? 0 : percent(1 - (now.idle - before.idle) / total),
      processCpuPercent: tookMs <= 0 ? 0 : percent(ownMs / (tookMs * Math.max(1, cpus().length))),
      memoryPercent: percent(1 - Math.min(process.availableMemory(), limit) / limit),
      processMemoryBytes: process.memoryUsage.rss(),
    };
    return this.#last;
  }
}

function times(): Times {
  let idle = 0;
  let all = 0;
  for (const { times: one } of cpus()) {
    idle += one.idle;
    all += one.user + one.nice + one.sys + one.irq + one.idle;
  }
  return { idle, all };
}

/** A container without a limit says 0, or a number beyond all memory. */
function memoryLimit(): number {
  const limit = process.constrainedMemory();
  return limit > 0 ? Math.min(limit, totalmem()) : totalmem();
}

function percent(share: number): number {
  return Math.round(Math.min(1, Math.max(0, share)) * 1000) / 10;
}
