/**
 * The catalogue of errors of the runtime: code, wording, HTTP status, remedy. It imports nothing; `docs/runtime-errors.md` is the same list
 * in prose, and a test holds the two together. `{name}` in a text is a field of the error; a code is never reused.
 */

interface Entry {
  readonly message: string;
  /** Answer of an HTTP request that fails with it. */
  readonly status: number;
  readonly hint: string;
}

export const CATALOGUE = {
  // config
  RUN_CONFIG_INVALID: {
    message: 'the settings are not valid:\n{problems}',
    status: 500,
    hint: 'Correct what the lines name; each says which layer it came from.',
  },
  RUN_CONFIG_FILE: {
    message: 'the settings file {file} cannot be read: {reason}',
    status: 500,
    hint: 'Give a JSON file that this user may read, or leave the file out.',
  },
  RUN_CONFIG_NAMES: {
    message: 'the environment name {name} stands for two settings: {paths}',
    status: 500,
    hint: 'Rename one of the two settings, so that each has a name of its own.',
  },
  RUN_CONFIG_CHANGE: {
    message: 'the settings were not changed:\n{problems}',
    status: 400,
    hint: 'Correct what the lines name, and send the change again: it is taken as a whole or not at all.',
  },
  RUN_CONFIG_FORBIDDEN: {
    message: 'this request may not change settings',
    status: 403,
    hint: 'Send it as somebody who may, by the rule that the service gave as mayChangeSettings.',
  },
  // services
  RUN_SERVICE_CYCLE: {
    message: 'services depend on each other in a circle: {path}',
    status: 500,
    hint: 'Remove one of these dependencies; the circle is shown in its order.',
  },
  RUN_SERVICE_UNKNOWN: {
    message: 'service {service} is not among the services of this runtime; known: {known}',
    status: 404,
    hint: 'Add the service to those of createRuntime, or correct the name.',
  },
  RUN_SERVICE_TWICE: {
    message: 'two services have the name {service}',
    status: 500,
    hint: 'Give each service a name of its own.',
  },
  RUN_SERVICE_START_FAILED: {
    message: 'service {service} did not start: {reason}; what had started was stopped again',
    status: 503,
    hint: 'See the cause. Make the service optional (critical: false) if the others can work without it.',
  },
  RUN_SERVICE_START_TIMEOUT: {
    message: 'service {service} did not start within {timeoutMs} ms',
    status: 503,
    hint: 'Look at what its start waits for, or raise startTimeoutMs.',
  },
  RUN_SERVICE_STOP_TIMEOUT: {
    message: 'service {service} did not stop within {timeoutMs} ms and was left behind',
    status: 500,
    hint: 'Let its stop heed the signal that it is given, or raise stopTimeoutMs.',
  },
  RUN_SERVICE_NOT_RUNNING: {
    message: 'service {service} is not running: it is {state}',
    status: 503,
    hint: 'Declare it in `needs`, so that it is started before; or try again when it is back.',
  },
  RUN_SERVICE_ESCALATED: {
    message: 'critical service {service} failed {restarts} times within {windowMs} ms; the last reason: {reason}',
    status: 503,
    hint: 'See the cause. The process should end now and be started again by whoever runs it.',
  },
  RUN_RUNTIME_STATE: {
    message: 'the runtime cannot {action} while it is {state}',
    status: 409,
    hint: 'Wait until the runtime has ended what it does.',
  },
  RUN_COMMAND_UNKNOWN: {
    message: 'there is no command {command}; known: {known}',
    status: 404,
    hint: 'Correct the name, or give the command to the orchestrator in `commands`.',
  },
  // health
  RUN_HEALTH_TIMEOUT: {
    message: 'the health check of {service} took longer than {timeoutMs} ms',
    status: 503,
    hint: 'Let the check ask less, or raise its timeoutMs.',
  },
  // security
  RUN_LIMIT_EXCEEDED: {
    message: 'too many requests: the limit of {limit} was reached',
    status: 429,
    hint: 'Try again after the time that Retry-After names.',
  },
  RUN_OVERLOADED: {
    message: 'the service is at its limit of {limit} requests at a time',
    status: 503,
    hint: 'Try again after the time that Retry-After names.',
  },
  // pipeline
  RUN_QUEUE_FULL: {
    message: 'the queue before {stage} holds {capacity} items and takes no more',
    status: 503,
    hint: 'Try again later, or choose another overflow policy or a larger queue.',
  },
  RUN_PIPELINE_CLOSED: {
    message: 'the pipeline {pipeline} takes no more items: it is {state}',
    status: 503,
    hint: 'Start the pipeline first; after a stop make a new one.',
  },
  RUN_STAGE_STUCK: {
    message: 'stage {stage} worked on one item for longer than {timeoutMs} ms',
    status: 504,
    hint: 'Look at what the stage waits for, or raise its timeoutMs.',
  },
  RUN_STAGE_UNKNOWN: {
    message: 'the pipeline {pipeline} has no stage {stage}; it has: {known}',
    status: 500,
    hint: 'Correct the name in `only`.',
  },
  RUN_STAGE_ELSEWHERE: {
    message:
      'stage {stage} of the pipeline {pipeline} cannot be reached from here: its queue lies in one process, and one side of it in another',
    status: 500,
    hint: 'Give the stage a queue that machines share (jetStreamQueue), or run both sides here.',
  },
  // nats
  RUN_TRANSPORT_UNAVAILABLE: {
    message: 'the item for {stage} is not known to be in the stream {stream} after {timeoutMs} ms: {reason}',
    status: 503,
    hint: 'See that the NATS server runs with JetStream, and push again: with idOf the stream takes the item once.',
  },
  RUN_TRANSPORT_STREAM: {
    message: 'the stream {stream} cannot be the queue before {stage}: {reason}',
    status: 500,
    hint: 'Choose another name of a stream, or remove the one that is there, if nobody needs it.',
  },
  RUN_TRANSPORT_OVERFLOW: {
    message: 'the queue before {stage} cannot {overflow}: its items lie on the server, for everybody',
    status: 500,
    hint: 'Let it block, reject or drop-newest.',
  },
  RUN_TRANSPORT_VALUE: {
    message: 'an item for {stage} cannot go to another machine: {at} is {what}',
    status: 500,
    hint: 'Items are what JSON can hold, and Uint8Array; turn the rest into that before.',
  },
  RUN_TRANSPORT_TOO_LARGE: {
    message: 'an item for {stage} has {bytes} bytes, and the NATS server takes {limit} (its max_payload)',
    status: 413,
    hint: 'Make it smaller, put it elsewhere and push its address, or raise max_payload at the server.',
  },
  RUN_TRANSPORT_BYTES: {
    message: 'a message of {bytes} bytes before {stage} is not an item: {reason}',
    status: 500,
    hint: 'Find out who else publishes to the subject of the queue; the message was ended as failed.',
  },
  RUN_TRANSPORT_POISON: {
    message: 'an item before {stage} was taken {deliveries} times and never came to an end; it is not worked on again',
    status: 500,
    hint: 'Look at the item: who takes it seems to die of it. Raise deliveries if takers die of something else.',
  },
} as const satisfies Record<string, Entry>;

export type ErrorCode = keyof typeof CATALOGUE;

type FieldsIn<Text extends string> = Text extends `${string}{${infer Name}}${infer Rest}`
  ? Name | FieldsIn<Rest>
  : never;
export type ErrorFields<Code extends ErrorCode> = Readonly<
  Record<FieldsIn<(typeof CATALOGUE)[Code]['message'] | (typeof CATALOGUE)[Code]['hint']>, string | number>
>;

/**
 * A failure that the catalogue knows.
 *
 * @example
 * throw new RuntimeError('RUN_SERVICE_TWICE', { service: 'database' });
 */
export class RuntimeError<Code extends ErrorCode = ErrorCode> extends Error {
  override readonly name = 'RuntimeError';
  readonly code: Code;
  /** HTTP status of a request that fails with it. */
  readonly status: number;
  /** What to do next. */
  readonly hint: string;
  readonly fields: Readonly<Record<string, string | number>>;

  constructor(code: Code, fields: ErrorFields<Code>, options?: { readonly cause?: unknown }) {
    const { message, status, hint } = CATALOGUE[code];
    const known: Readonly<Record<string, string | number>> = fields;
    const filled = (text: string) =>
      text.replaceAll(/\{(\w+)\}/g, (whole, name: string) => String(known[name] ?? whole));
    super(filled(message), options);
    this.code = code;
    this.status = status;
    this.hint = filled(hint);
    this.fields = known;
  }
}

/** The text of anything that was thrown. */
export function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
