import { createHash } from 'node:crypto';

import { ChangeoverError } from '../errors.ts';
import type { TenantKey } from '../plan/plan.ts';
import type { Json, Side } from '../plan/words.ts';

/** Node arguments (script first) of the processes that the gateway consists of; the caller knows its own scripts. */
export interface GatewayEntry {
  /** Must call `runSupervisor()`. */
  readonly supervisor: readonly string[];
  /** Must call `runWorker({ source })`. */
  readonly worker: readonly string[];
  /** One more process that the supervisor keeps alive, started with the same environment. */
  readonly keeper?: readonly string[];
}

export interface GatewayLimits {
  /** Requests that one worker parks during a hold; one more is refused with 503. Default 10,000. */
  readonly maxHeldRequests: number;
  /** Bytes of head and buffered body that one worker parks. Default 64 MiB. */
  readonly maxHeldBytes: number;
  /** Longest time that one request is parked before it is refused with 503. Default 30 s. */
  readonly maxHeldMs: number;
  /** A worker that has not reported for so long is taken for hung and killed. Default 2 s. */
  readonly silentMs: number;
  /** How long `start` waits until every worker admits requests. Default 15 s. */
  readonly startDeadlineMs: number;
  /** How long `stop` lets requests under way finish. Default 10 s. */
  readonly stopDeadlineMs: number;
}

export interface GatewayOptions extends Partial<GatewayLimits> {
  readonly listen: { readonly host: string; readonly port: number };
  /** Worker processes that share the listening socket. Default 2. */
  readonly workers?: number;
  /** Base URL of each side: scheme, host and port. */
  readonly targets: Readonly<Record<Side, string>>;
  readonly entry: GatewayEntry;
  /** Where a request says of which slice it is. Absent: all requests go one way. */
  readonly tenant?: TenantKey;
}

/** What supervisor and workers are told; travels in the environment, so that a worker can start a new supervisor with it. */
export interface GatewaySettings extends GatewayLimits {
  readonly listen: { readonly host: string; readonly port: number };
  readonly workers: number;
  readonly targets: Readonly<Record<Side, string>>;
  readonly entry: GatewayEntry;
  readonly tenant?: TenantKey;
  /** Absolute folder of reports, lock and logs. */
  readonly folder: string;
}

const DEFAULT_LIMITS: GatewayLimits = {
  maxHeldRequests: 10_000,
  maxHeldBytes: 64 * 1024 * 1024,
  maxHeldMs: 30_000,
  silentMs: 2_000,
  startDeadlineMs: 15_000,
  stopDeadlineMs: 10_000,
};

const VARIABLE = 'CHANGEOVER_GATEWAY';

/** Fills in the defaults. Throws `CHG_TRAFFIC_TARGET_INVALID` for a target that is not scheme, host and port alone. */
export function resolveSettings(options: GatewayOptions, folder: string): GatewaySettings {
  const { listen, workers = 2, targets, entry, tenant, ...limits } = options;
  return {
    ...DEFAULT_LIMITS,
    ...limits,
    listen,
    workers,
    targets: { legacy: originOf('legacy', targets.legacy), next: originOf('next', targets.next) },
    entry,
    ...(tenant === undefined ? {} : { tenant }),
    folder,
  };
}

function originOf(side: Side, target: string): string {
  const url = URL.parse(target);
  const isBare = url?.pathname === '/' && url.search === '' && url.hash === '' && url.username === '';
  if (url === null || !isBare || (url.protocol !== 'http:' && url.protocol !== 'https:')) {
    throw new ChangeoverError('CHG_TRAFFIC_TARGET_INVALID', { side, target });
  }
  return url.origin;
}

export function settingsToEnvironment(settings: GatewaySettings): NodeJS.ProcessEnv {
  return { ...process.env, [VARIABLE]: JSON.stringify(settings) };
}

/** Throws `CHG_TRAFFIC_STARTED_BY_HAND` in a process that no gateway started. */
export function settingsFromEnvironment(): GatewaySettings {
  const text = process.env[VARIABLE];
  if (text === undefined) throw new ChangeoverError('CHG_TRAFFIC_STARTED_BY_HAND', { variable: VARIABLE });
  return JSON.parse(text) as GatewaySettings;
}

/** Equal for two gateways that would behave alike; what a running gateway is compared by. */
export function settingsHash(settings: GatewaySettings): string {
  return createHash('sha256').update(JSON.stringify(settings)).digest('hex').slice(0, 16);
}

/** What the plan freezes. The scripts are left out: a new installation path is no changed plan. */
export function specOf(options: GatewayOptions): Json {
  return JSON.parse(JSON.stringify({ ...options, entry: undefined })) as Json;
}
