import type { NewNotification } from '../storage/storage.ts';

export const CHANNELS = ['telegram', 'mqtt', 'webhook', 'web'] as const;
export type ChannelName = (typeof CHANNELS)[number];

/** `notifications.content`. */
export interface Content {
  readonly alert_id: string;
  readonly alert_type: string;
  readonly priority: NewNotification['priority'];
  readonly timestamp: string;
  /** Null where nobody rang. */
  readonly event_id: string | null;
  readonly title: string;
  readonly message: string;
  readonly person_id?: string;
  readonly person_name?: string;
  readonly confidence?: number;
  readonly image_available?: boolean;
}

/** What is sent: a notification, with those that were folded into it. */
export interface Message extends Content {
  /** How many alerts it tells of. */
  readonly count: number;
  /** Null where there is none, and where it is gone or too large to be sent. */
  picture(): Promise<Uint8Array | null>;
}

/**
 * One way in which messages leave. Implementers must not assume that a message comes only once: after a lost confirmation it comes again,
 * with the same `alert_id`.
 */
export interface Channel {
  readonly name: ChannelName;
  /** Attempts before a message is given up, and the pause after a failed one. */
  readonly retry: { readonly attempts: number; pauseMs(attempt: number): number };
  /** This side owns messages from now on. `isBack` tells that a channel that was away takes messages again. */
  start?(isBack: () => void): void;
  /** Another side may own them now. */
  stop?(): Promise<void>;
  /**
   * Resolves when the other side has confirmed.
   *
   * @param served Who has got the message by an earlier attempt; the channel adds to it.
   * @throws DeliveryError
   */
  send(message: Message, served: Set<string>): Promise<void>;
}

/**
 * `refused`: it would be refused again. `failed`: it may be tried again. `away`: the channel takes nothing at the moment, which is no fault of
 * the message and does not count as an attempt.
 */
export type FailureKind = 'refused' | 'failed' | 'away';

/** A message was not confirmed. The text is stored and must not hold a secret. */
export class DeliveryError extends Error {
  override readonly name = 'DeliveryError';
  readonly kind: FailureKind;
  /** The other side asked for a pause. */
  readonly retryAfterMs: number | null;

  constructor(message: string, kind: FailureKind, retryAfterMs: number | null = null) {
    super(message);
    this.kind = kind;
    this.retryAfterMs = retryAfterMs;
  }
}
