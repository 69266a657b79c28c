import type { Duration } from './duration.ts';
import type { SetupCommand, TenantKey } from './plan.ts';
import type { Check, SettingsPort, Unit } from './ports.ts';
import type { Rate } from './rate.ts';
import type { DataDefinition } from './sync.ts';

/** What an author writes; `Plan` is what comes out, with every default filled in. */
export interface PlanAuthor {
  /** Name of the move; part of the names of what it adds to stores. */
  readonly name: string;
  readonly legacy: {
    /** What serves now. */
    readonly units: readonly Unit[];
    /** Whatever writes around the gateway; paused while the sides switch. */
    readonly writers?: readonly Unit[];
  };
  readonly next: {
    /** What serves after the cutover; passive until then. */
    readonly units: readonly Unit[];
    /** Commands that make the new schema before the data stage. They must be repeatable. */
    readonly setup?: readonly (string | SetupCommand)[];
  };
  readonly gateway: {
    /** Where clients reach the system, before and after. A port alone listens on 127.0.0.1. */
    readonly listen: string | number | { readonly host: string; readonly port: number };
    /** Processes that share the listening socket. Default 2. */
    readonly workers?: number;
    /** Most requests parked at once. Default 10,000. */
    readonly maxHeldRequests?: number;
    /** Most bytes of parked requests. Default 64 MiB. */
    readonly maxHeldBytes?: number;
    /** Longest that one request is parked before it is refused with 503. Default 60 s. */
    readonly maxHeld?: Duration;
    /**
     * Where a request says of which slice it is: a header, a parameter of the query, or the segment of the path that follows `path`
     * (`/api/networks/`). Needed for `run --slice`.
     */
    readonly tenant?: TenantKey;
  };
  readonly backup?: {
    /** Files and folders copied with a manifest before anything is changed. */
    readonly paths: readonly string[];
    /** SQLite files, copied consistently while they are written to. */
    readonly sqlite?: readonly string[];
    /** Default `none`. */
    readonly compress?: 'none' | 'gzip' | 'zstd';
  };
  readonly config?: SettingsPort;
  /** Rows and files that move online, in both directions. */
  readonly data?: readonly DataDefinition[];
  /** What the copy, the catch-up and full verification leave to others. The final catch-up of a switch is never held back. */
  readonly throttle?: {
    /** Most that is read from the source in a second. Default: no limit. `--max-rate` overrules it for one run. */
    readonly maxRate?: Rate;
    /** Above this time for one row by its key, which an idle source never takes, we read less. Default 100 ms. */
    readonly sourceLatency?: Duration;
    /** Above this lag of a replica, of the source or the target, we wait. Default 10 s. */
    readonly replicaLag?: Duration;
    /** Addresses of replicas that their primary does not tell about: those of MariaDB and MySQL. */
    readonly replicas?: readonly string[];
  };
  readonly cutover?: {
    readonly hold?: {
      /** Longest that requests are parked at the cutover before the old side goes on. Default 5 s. */
      readonly deadline?: Duration;
      /** The same for a rollback, with the boot of a stopped legacy. Default 30 s. */
      readonly rollbackDeadline?: Duration;
    };
    /** Longest wait for requests in flight. Default 10 s. */
    readonly drain?: { readonly deadline?: Duration };
    /** Longest wait until a side is seen idle. Default 5 s. */
    readonly quiesce?: { readonly deadline?: Duration };
    /** Roll back by itself when a check fails after the cutover. Default false: keep the state and ask. */
    readonly rollbackOnFailedChecks?: boolean;
  };
  /** What must hold before and after the cutover. */
  readonly checks?: readonly Check[];
}

declare const message: unique symbol;

/** A combination that cannot work, with the reason in its type: the editor shows it where the mistake is. */
export interface ChangeoverTypeError<Message extends string> {
  readonly [message]: Message;
}

type OnlyKnown<Given, Known, Where extends string> = {
  readonly [Name in Exclude<keyof Given, keyof Known>]: ChangeoverTypeError<`${Where} has no '${Name & string}'`>;
};

type NotEmpty<List, Message extends string> = List extends readonly [] ? ChangeoverTypeError<Message> : unknown;

type PortOf<Address> = Address extends number
  ? `${Address}`
  : Address extends `[${string}]:${infer Port}`
    ? Port
    : Address extends `${string}:${infer Port}`
      ? Port
      : Address extends { readonly port: infer Port extends number }
        ? `${Port}`
        : never;

type UrlPort<Url> = Url extends `${string}://[${string}]:${infer Rest}`
  ? FirstSegment<Rest>
  : Url extends `${string}://${string}:${infer Rest}`
    ? FirstSegment<Rest>
    : never;

type FirstSegment<Text extends string> = Text extends `${infer First}/${string}` ? First : Text;

type UnitPorts<Author extends PlanAuthor> = UrlPort<
  Author['legacy']['units'][number]['url'] | Author['next']['units'][number]['url']
>;

type CheckedListen<Author extends PlanAuthor> = Author['gateway']['listen'] extends infer Listen
  ? string extends Listen
    ? unknown
    : number extends Listen
      ? unknown
      : Listen extends `[${string}]:${number}` | `${string}:${number}` | number | object
        ? PortOf<Listen> extends UnitPorts<Author>
          ? ChangeoverTypeError<`port ${PortOf<Listen>} belongs to a unit: the gateway needs one of its own`>
          : unknown
        : ChangeoverTypeError<"gateway.listen needs a port, such as '127.0.0.1:5000'">
  : never;

type Cutover = NonNullable<PlanAuthor['cutover']>;
type ThrottleAuthor = NonNullable<PlanAuthor['throttle']>;

type CheckedCutover<Given> = OnlyKnown<Given, Cutover, 'cutover'> & {
  readonly hold?: Given extends { readonly hold: infer Hold }
    ? OnlyKnown<Hold, NonNullable<Cutover['hold']>, 'cutover.hold'>
    : unknown;
  readonly drain?: Given extends { readonly drain: infer Drain }
    ? OnlyKnown<Drain, NonNullable<Cutover['drain']>, 'cutover.drain'>
    : unknown;
  readonly quiesce?: Given extends { readonly quiesce: infer Quiesce }
    ? OnlyKnown<Quiesce, NonNullable<Cutover['quiesce']>, 'cutover.quiesce'>
    : unknown;
};

/** What TypeScript can refuse while a plan is being written. The same and more is checked again at run time. */
export type CheckedAuthor<Author extends PlanAuthor> = OnlyKnown<Author, PlanAuthor, 'a plan'> & {
  readonly legacy: OnlyKnown<Author['legacy'], PlanAuthor['legacy'], 'legacy'> & {
    readonly units: NotEmpty<Author['legacy']['units'], 'legacy.units is empty: name what serves now'>;
  };
  readonly next: OnlyKnown<Author['next'], PlanAuthor['next'], 'next'> & {
    readonly units: NotEmpty<Author['next']['units'], 'next.units is empty: name what serves after the cutover'>;
  };
  readonly gateway: OnlyKnown<Author['gateway'], PlanAuthor['gateway'], 'gateway'> & {
    readonly listen: CheckedListen<Author>;
  };
  readonly backup?: Author extends { readonly backup: infer Backup }
    ? OnlyKnown<Backup, NonNullable<PlanAuthor['backup']>, 'backup'> & {
        readonly paths: Backup extends { readonly paths: infer Paths }
          ? NotEmpty<Paths, 'backup.paths is empty: name what is copied, or leave backup out'>
          : unknown;
      }
    : unknown;
  readonly data?: Author extends { readonly data: infer Data }
    ? NotEmpty<Data, 'data is empty: leave it out where nothing moves'>
    : unknown;
  readonly throttle?: Author extends { readonly throttle: infer Given }
    ? OnlyKnown<Given, ThrottleAuthor, 'throttle'>
    : unknown;
  readonly cutover?: Author extends { readonly cutover: infer Given } ? CheckedCutover<Given> : unknown;
};
