import type { CheckOptions } from '../health/check.ts';
import type { Logger } from '../observe/logs.ts';
import type { Runtime } from './create-runtime.ts';
import type { RestartPolicy } from './restart.ts';

/** How far another service has to be: its start has returned, its health is good, or its work is done. */
export type Condition = 'started' | 'healthy' | 'completed';

export interface Need {
  readonly service: string;
  readonly condition: Condition;
  /** Whether this service starts again when that one was started again. Default true. */
  readonly restarts: boolean;
}

/** What a service is given when it starts. */
export interface ServiceContext {
  /** Aborts when the service is to stop, and when it has failed. */
  readonly signal: AbortSignal;
  readonly log: Logger;
  /** That it belongs to. */
  readonly runtime: Runtime;
  /**
   * What the start of another service returned, as it is now.
   *
   * @throws RuntimeError RUN_SERVICE_NOT_RUNNING where it is not declared in `needs` and is not running.
   */
  readonly use: <T>(service: Service<T>) => T;
  /** Tells that the service does not work any more; it is stopped, and started again by its policy. */
  readonly fail: (error: unknown) => void;
}

export interface ServiceOptions<T> {
  readonly needs?: readonly (Need | AnyService)[];
  /** Starts it; what it returns is given to `run`, `stop`, `health` and to those that use it. */
  start(context: ServiceContext): T | Promise<T>;
  /** Its work, where it has an end or may break: resolved is completed, rejected is failed. */
  run?(instance: T, context: ServiceContext): Promise<void>;
  /** The signal aborts at the deadline. */
  stop?(instance: T, context: { readonly signal: AbortSignal }): void | Promise<void>;
  readonly health?: Omit<CheckOptions, 'check' | 'critical' | 'needs'> & {
    check(instance: T, context: { readonly signal: AbortSignal }): unknown;
  };
  /** Without a critical service the whole fails; without another one it is degraded. Default true. */
  readonly critical?: boolean;
  /** Default 30,000. */
  readonly startTimeoutMs?: number;
  /** Default 10,000. */
  readonly stopTimeoutMs?: number;
  readonly restart?: Partial<RestartPolicy>;
}

/** A service by its name, as others name it in their `needs`. */
export interface Service<T> {
  readonly name: string;
  readonly options: ServiceOptions<T>;
}

/** A service whatever its start returns. */
// Method parameters are compared in both ways, so that every Service<T> is one.
export type AnyService = Service<never> | Service<unknown>;

/**
 * Describes a service; `createRuntime` starts it.
 *
 * @example
 * const database = service('database', { start: () => openPool(), stop: (pool) => pool.end() });
 * const api = service('api', { needs: [healthy(database)], start: ({ use }) => listen(use(database)) });
 */
export function service<T>(name: string, options: ServiceOptions<T>): Service<T> {
  return { name, options };
}

type Named = AnyService | string;

/** Needs that the other one's start has returned. */
export function started(other: Named, options: { readonly restarts?: boolean } = {}): Need {
  return need(other, 'started', options);
}

/** Needs that the other one is healthy; one without a check is when it has started. */
export function healthy(other: Named, options: { readonly restarts?: boolean } = {}): Need {
  return need(other, 'healthy', options);
}

/** Needs that the other one has done its work, such as a migration. */
export function completed(other: Named): Need {
  return need(other, 'completed', { restarts: false });
}

function need(other: Named, condition: Condition, { restarts = true }: { readonly restarts?: boolean }): Need {
  return { service: typeof other === 'string' ? other : other.name, condition, restarts };
}
