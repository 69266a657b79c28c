import { z } from 'zod';
import { DURATION_PATTERN } from './duration.ts';
import type { Check, SettingsPort, Unit } from './ports.ts';
import { RATE_PATTERN } from './rate.ts';
import type { DataDefinition } from './sync.ts';
import { REPLICA_LAG_MS, SOURCE_LATENCY_MS } from './throttle.ts';

/** Default of `cutover.hold.deadline`: the longest that requests are parked at the cutover before the old side goes on. */
export const HOLD_DEADLINE_MS = 5_000;
/** Default of `cutover.hold.rollbackDeadline`: contains the boot of a legacy that had to be stopped. */
export const ROLLBACK_HOLD_DEADLINE_MS = 30_000;
/** Default of `cutover.drain.deadline`: the longest wait for requests in flight. */
export const DRAIN_DEADLINE_MS = 10_000;
/** Default of `cutover.quiesce.deadline`: the longest wait for a side to be seen idle. */
export const QUIESCE_DEADLINE_MS = 5_000;
/** Default of `gateway.workers`: processes that share the listening socket. */
export const GATEWAY_WORKERS = 2;
/** Default of `gateway.maxHeldRequests`. */
export const MAX_HELD_REQUESTS = 10_000;
/** Default of `gateway.maxHeldBytes`: 64 MiB. */
export const MAX_HELD_BYTES = 64 * 1024 * 1024;
/** Default of `gateway.maxHeld`: the longest that one request is parked before it is refused with 503. */
export const MAX_HELD_MS = 60_000;

const LISTEN_PATTERN = /^(?:\[[0-9a-fA-F:.]+\]|[^\s:/[\]]+):\d{1,5}$/;

/**
 * The conventions of this file: an `error` text is what was expected; `examples` become the remedy of a problem and enter
 * `plan.schema.json` together with `description` and `default`.
 */
const A_DURATION = 'a duration: milliseconds, or a text such as "5s", "250ms", "2m"';
const A_RATE = 'a rate above zero: rows or bytes in a second, such as "5000rows" or "20MB/s"';
const AN_ADDRESS = 'an address with a port from 1 to 65535';
const A_TENANT = "{ header: 'x-network' }, { query: 'network' } or { path: '/api/networks/' }";
const A_COMMAND = 'a command, or { run, cwd, env }';

const duration = (description: string, defaultMs: number) =>
  z
    .union([z.number().nonnegative(A_DURATION), z.string().regex(DURATION_PATTERN, A_DURATION)], { error: A_DURATION })
    .meta({ description, default: defaultMs, examples: ['5s'] });

const count = (description: string, standard: number, most: number) =>
  z
    .int({ error: 'a whole number' })
    .min(1, 'a whole number from 1')
    .max(most, `a whole number up to ${most}`)
    .meta({ description, default: standard, examples: [standard] });

const text = (expected: string) => z.string({ error: expected }).min(1, expected);

const section = <Shape extends z.ZodRawShape>(shape: Shape) => z.strictObject(shape, { error: expectedSection });

// An object's own mistakes: the names it does not know are told apart in problems.ts, which sees the known ones.
function expectedSection(issue: { readonly code?: string }): string {
  return issue.code === 'unrecognized_keys' ? 'a known name' : 'an object';
}

const part = <Part>(isPart: (value: object) => boolean, expected: string, examples: string[]) =>
  z
    .custom<Part>((value) => typeof value === 'object' && value !== null && isPart(value), expected)
    .meta({ description: `${expected}; made by a function, so it needs a TypeScript or JavaScript plan`, examples });

const has = (value: object, ...names: readonly string[]): boolean => names.every((name) => name in value);

const unit = part<Unit>((value) => has(value, 'name', 'spec', 'start', 'stop', 'status'), 'a unit', [
  "command('node server.js', { url: 'http://127.0.0.1:5001' })",
]);

const port = z.int({ error: AN_ADDRESS }).min(1, AN_ADDRESS).max(65_535, AN_ADDRESS);

const path = text('a path');
const paths = z.array(path, { error: 'a list of paths' });

/** What an author may write. Everything that can be said without a function is checked here; `define.ts` adds what spans sections. */
export const planSchema = section({
  name: z
    .string({ error: 'a text' })
    .regex(
      /^[a-zA-Z0-9][a-zA-Z0-9._-]{0,63}$/,
      'a short name: letters, digits, dots, dashes and underscores, at most 64',
    )
    .meta({ description: 'Name of the move; part of the names of what it adds to stores', examples: ['doorbell'] }),
  legacy: section({
    units: z.array(unit, { error: 'a list of units' }).min(1, 'at least one unit').meta({
      description: 'What serves now',
    }),
    writers: z.array(unit, { error: 'a list of units' }).optional().meta({
      description: 'Whatever writes around the gateway; paused while the sides switch',
    }),
  }).meta({ description: 'The architecture that is left' }),
  next: section({
    units: z.array(unit, { error: 'a list of units' }).min(1, 'at least one unit').meta({
      description: 'What serves after the cutover; passive until then',
    }),
    setup: z
      .array(
        z.union(
          [
            text(A_COMMAND),
            section({
              run: text('a command'),
              cwd: path.optional(),
              env: z.record(z.string(), z.string({ error: 'a text' }), { error: 'names with texts' }).optional(),
            }),
          ],
          { error: A_COMMAND },
        ),
        { error: 'a list of commands' },
      )
      .optional()
      .meta({
        description: 'Commands that make the new schema before the data stage; they must be repeatable',
        examples: [['node migrate.js']],
      }),
  }).meta({ description: 'The architecture that is moved to' }),
  gateway: section({
    listen: z
      .union(
        [
          port,
          z
            .string()
            .regex(LISTEN_PATTERN, { error: AN_ADDRESS, abort: true })
            .refine(
              (address) => port.safeParse(Number(address.slice(address.lastIndexOf(':') + 1))).success,
              AN_ADDRESS,
            ),
          section({ host: text('a host'), port }),
        ],
        { error: AN_ADDRESS },
      )
      .meta({
        description: 'Where clients reach the system, before and after; a port alone listens on 127.0.0.1',
        examples: ['127.0.0.1:5000'],
      }),
    workers: count('Processes that share the listening socket', GATEWAY_WORKERS, 64).optional(),
    maxHeldRequests: count(
      'Most requests parked at once; one more is refused with 503',
      MAX_HELD_REQUESTS,
      10_000_000,
    ).optional(),
    maxHeldBytes: count('Most bytes of parked requests in memory', MAX_HELD_BYTES, 2 ** 40).optional(),
    maxHeld: duration('Longest that one request is parked before it is refused with 503', MAX_HELD_MS).optional(),
    tenant: z
      .union(
        [
          section({ header: text(A_TENANT) }),
          section({ query: text(A_TENANT) }),
          section({ path: z.string({ error: A_TENANT }).regex(/^\/(?:.*\/)?$/, A_TENANT) }),
        ],
        { error: A_TENANT },
      )
      .optional()
      .meta({
        description: 'Where a request says of which slice it is',
        examples: [{ header: 'x-network' }],
      }),
  }).meta({ description: 'The reverse proxy in front of both sides' }),
  backup: section({
    paths: paths.min(1, 'at least one path').meta({
      description: 'Files and folders copied with a manifest before anything is changed',
      examples: [['config', 'data']],
    }),
    sqlite: paths.optional().meta({ description: 'SQLite files, copied consistently while they are written to' }),
    compress: z
      .enum(['none', 'gzip', 'zstd'], { error: '"none", "gzip" or "zstd"' })
      .optional()
      .meta({ description: 'How the copies are stored', default: 'none' }),
  }).optional(),
  config: part<SettingsPort>((value) => has(value, 'spec', 'apply', 'undo', 'report'), 'settings', [
    "settings({ from: [dotenv('.env')], to: json('config.json'), … })",
  ]).optional(),
  data: z
    .array(
      part<DataDefinition>(
        (value) =>
          'kind' in value &&
          (has(value, 'name', 'spec', 'from', 'to')
            ? ['sync', 'files'].includes(String(value.kind))
            : has(value, 'name', 'spec', 'in', 'tables') && value.kind === 'expand'),
        'data to move',
        [
          "sync({ name, from, to, tables, schema: 'create' })",
          "files({ from: 'data/pictures', to: 'var/pictures' })",
          "expand({ name, in: postgres(url), tables: { users: { add: { full_name: { type: 'text', up, down } } } } })",
        ],
      ),
      { error: 'a list of data to move' },
    )
    .min(1, 'something to move; leave `data` out where there is nothing')
    .optional()
    .meta({ description: 'Rows and files that move online, in both directions' }),
  throttle: section({
    maxRate: z
      .string({ error: A_RATE })
      .regex(RATE_PATTERN, { error: A_RATE, abort: true })
      .refine((rate) => parseFloat(rate) > 0, A_RATE)
      .optional()
      .meta({ description: 'Most that is read from the source in a second; default: no limit', examples: ['20MB/s'] }),
    sourceLatency: duration(
      'Above this time for one row by its key, by the clock of the source, we read less',
      SOURCE_LATENCY_MS,
    ).optional(),
    replicaLag: duration('Above this lag of a replica of the source or the target we wait', REPLICA_LAG_MS).optional(),
    replicas: z
      .array(text('an address'), { error: 'a list of addresses' })
      .optional()
      .meta({
        description: 'Addresses of replicas that their primary does not tell about: those of MariaDB and MySQL',
        examples: [['mariadb://reader@replica/shop']],
      }),
  })
    .optional()
    .meta({ description: 'What the copy, the catch-up and full verification leave to others' }),
  cutover: section({
    hold: section({
      deadline: duration('Longest that requests are parked at the cutover', HOLD_DEADLINE_MS).optional(),
      rollbackDeadline: duration(
        'The same for a rollback, with the boot of a stopped legacy',
        ROLLBACK_HOLD_DEADLINE_MS,
      ).optional(),
    }).optional(),
    drain: section({
      deadline: duration('Longest wait for requests in flight', DRAIN_DEADLINE_MS).optional(),
    }).optional(),
    quiesce: section({
      deadline: duration('Longest wait until a side is seen idle', QUIESCE_DEADLINE_MS).optional(),
    }).optional(),
    rollbackOnFailedChecks: z.boolean({ error: 'true or false' }).optional().meta({
      description:
        'Roll back by itself when a check fails after the cutover; otherwise the state is kept and the operator asked',
      default: false,
    }),
  }).optional(),
  checks: z
    .array(
      part<Check>((value) => has(value, 'name', 'spec', 'run'), 'a check', ["http('/api/status')", 'counts()']),
      {
        error: 'a list of checks',
      },
    )
    .optional()
    .meta({ description: 'What must hold before and after the cutover' }),
});

/** The JSON Schema of a plan, published as `plan.schema.json`. */
export function planJsonSchema(): object {
  const schema = z.toJSONSchema(planSchema, { io: 'input', unrepresentable: 'any' });
  return { ...schema, title: 'Changeover plan' };
}
