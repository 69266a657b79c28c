import type { Consumer, JetStreamClient, JetStreamManager } from '@nats-io/jetstream';
import type { NatsConnection, NodeConnectionOptions } from '@nats-io/transport-node';
import { reasonOf, RuntimeError } from '../errors.ts';

/** The one consumer of the stream, which all machines take from. */
const TAKERS = 'takers';
const NAME_IN_USE = 10_058;
const RECONNECT_MS = 250;
/** A network that swallows everything is noticed after two of them. */
const PING_MS = 10_000;
const CONNECT_TIMEOUT_MS = 5_000;
const REQUEST_TIMEOUT_MS = 2_000;

export interface SessionOptions {
  readonly connection: NodeConnectionOptions;
  readonly stream: string;
  /** Stage before which it stands, for messages. */
  readonly stage: string;
  readonly capacity: number;
  readonly replicas: number;
  readonly ackWaitMs: number;
  readonly duplicateWindowMs: number;
}

/** A connection, and the stream with its consumer, which are made where they are missing. */
export interface Session {
  readonly connection: NatsConnection;
  readonly client: JetStreamClient;
  readonly consumer: Consumer;
}

/** The client is loaded by whoever uses it, and by nobody else. */
export async function connectTo({ connection, stream }: SessionOptions): Promise<NatsConnection> {
  const { connect } = await import('@nats-io/transport-node');
  const again = {
    reconnectTimeWait: RECONNECT_MS,
    reconnectJitter: RECONNECT_MS,
    maxReconnectAttempts: -1,
    pingInterval: PING_MS,
  };
  return connect({ name: stream, timeout: CONNECT_TIMEOUT_MS, ...again, ...connection });
}

/** @throws RuntimeError RUN_TRANSPORT_STREAM where there is a stream of this name that is something else. */
export async function prepare(connection: NatsConnection, options: SessionOptions): Promise<Session> {
  const { jetstream, jetstreamManager } = await import('@nats-io/jetstream');
  const manager = await jetstreamManager(connection, { checkAPI: false, timeout: REQUEST_TIMEOUT_MS });
  await prepareStream(manager, options);
  await prepareConsumer(manager, options);
  const client = jetstream(connection, { timeout: REQUEST_TIMEOUT_MS });
  return { connection, client, consumer: await client.consumers.get(options.stream, TAKERS) };
}

async function prepareStream(manager: JetStreamManager, options: SessionOptions): Promise<void> {
  const { JetStreamApiError } = await import('@nats-io/jetstream');
  const { stream, stage, capacity, replicas, duplicateWindowMs } = options;
  const changeable = { max_msgs: capacity, num_replicas: replicas, duplicate_window: nanos(duplicateWindowMs) };
  const fixed = { retention: 'workqueue', storage: 'file', discard: 'new' } as const;
  try {
    await manager.streams.add({ name: stream, subjects: [stream], ...fixed, ...changeable });
  } catch (error) {
    if (!(error instanceof JetStreamApiError) || error.code !== NAME_IN_USE) throw error;
    const { config } = await manager.streams.info(stream);
    const found = { ...config, subjects: config.subjects.join() };
    for (const [name, wanted] of Object.entries({ ...fixed, subjects: stream })) {
      const there = found[name as keyof typeof fixed];
      if (there === wanted) continue;
      const reason = `it is there already, and its ${name} is ${there} instead of ${wanted}`;
      throw new RuntimeError('RUN_TRANSPORT_STREAM', { stream, stage, reason }, { cause: error });
    }
    await manager.streams.update(stream, changeable);
  }
}

async function prepareConsumer(manager: JetStreamManager, { stream, stage, ackWaitMs }: SessionOptions): Promise<void> {
  const { JetStreamApiError } = await import('@nats-io/jetstream');
  // Deliveries are counted by who takes: what the server gave up on would lie in the stream for ever.
  const changeable = { ack_wait: nanos(ackWaitMs), max_deliver: -1, max_ack_pending: -1 };
  try {
    await manager.consumers.add(stream, { durable_name: TAKERS, ack_policy: 'explicit', ...changeable });
  } catch (added) {
    if (!(added instanceof JetStreamApiError)) throw added;
    try {
      await manager.consumers.update(stream, TAKERS, changeable);
    } catch (cause) {
      if (!(cause instanceof JetStreamApiError)) throw cause;
      throw new RuntimeError('RUN_TRANSPORT_STREAM', { stream, stage, reason: reasonOf(cause) }, { cause });
    }
  }
}

function nanos(ms: number): number {
  return ms * 1_000_000;
}
