import { trace, type Span } from '@opentelemetry/api';
import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client';

/** More values of a label than this are counted together as `other`: a label made of what clients send would fill the memory. */
const MAX_LABEL_VALUES = 100;
const TRACER = '@changeover/runtime';
const SECONDS = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

type Labels = Readonly<Record<string, string>>;

/** Counters, gauges and times of one process, as Prometheus reads them. */
export class Metrics {
  readonly #registry = new Registry();
  readonly #counters = new Map<string, Counter>();
  readonly #gauges = new Map<string, Gauge>();
  readonly #histograms = new Map<string, Histogram>();
  readonly #seen = new Map<string, Set<string>>();

  /** @param options.withProcess Also CPU, memory and event loop of the process. Default true. */
  constructor(options: { readonly withProcess?: boolean } = {}) {
    if (options.withProcess ?? true) collectDefaultMetrics({ register: this.#registry });
  }

  /** Adds to a counter; its name ends in `_total`. */
  count(name: string, help: string, labels: Labels = {}, by = 1): void {
    const counter = made(this.#counters, name, () => new Counter(this.#like(name, help, labels)));
    counter.inc(this.#bounded(name, labels), by);
  }

  gauge(name: string, help: string, labels: Labels, value: number): void {
    const gauge = made(this.#gauges, name, () => new Gauge(this.#like(name, help, labels)));
    gauge.set(this.#bounded(name, labels), value);
  }

  /** Observes a time; the name ends in `_seconds`. */
  time(name: string, help: string, labels: Labels, seconds: number): void {
    const histogram = made(
      this.#histograms,
      name,
      () => new Histogram({ ...this.#like(name, help, labels), buckets: SECONDS }),
    );
    histogram.observe(this.#bounded(name, labels), seconds);
  }

  /** Text of Prometheus, and its content type. */
  async text(): Promise<{ readonly type: string; readonly body: string }> {
    return { type: this.#registry.contentType, body: await this.#registry.metrics() };
  }

  #like(name: string, help: string, labels: Labels) {
    return { name, help, labelNames: Object.keys(labels), registers: [this.#registry] };
  }

  #bounded(name: string, labels: Labels): Labels {
    return Object.fromEntries(
      Object.entries(labels).map(([label, value]) => {
        const values = made(this.#seen, `${name} ${label}`, () => new Set<string>());
        if (values.size < MAX_LABEL_VALUES) values.add(value);
        return [label, values.has(value) ? value : 'other'];
      }),
    );
  }
}

function made<K, V>(map: Map<K, V>, key: K, make: () => V): V {
  const found = map.get(key) ?? make();
  map.set(key, found);
  return found;
}

/**
 * Runs `act` in a span of OpenTelemetry. Without an SDK in the process this costs next to nothing and records nothing.
 */
export async function traced<T>(name: string, attributes: Labels, act: (span: Span) => T | Promise<T>): Promise<T> {
  return trace.getTracer(TRACER).startActiveSpan(name, { attributes }, async (span) => {
    try {
      return await act(span);
    } catch (error) {
      span.recordException(error instanceof Error ? error : String(error));
      throw error;
    } finally {
      span.end();
    }
  });
}
