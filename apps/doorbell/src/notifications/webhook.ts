import { createHmac } from 'node:crypto';
import type { Secret } from '@changeover/runtime';
import type { Channel, Message } from './channel.ts';
import { post } from './post.ts';

const MS_PER_SECOND = 1000;

export interface WebhookOptions {
  readonly url: string;
  readonly secret: Secret;
  readonly timeoutMs: number;
  readonly retry: Channel['retry'];
}

/**
 * POSTs the content as JSON. `X-Doorbell-Signature` is `sha256=` and the HMAC-SHA256 in hex of `X-Doorbell-Timestamp` (seconds since the epoch),
 * a full stop and the body; whoever checks both knows the sender and can refuse what is old. `X-Doorbell-Delivery` stays the same when a
 * message comes again.
 */
export class Webhook implements Channel {
  readonly name = 'webhook';
  readonly retry: Channel['retry'];
  readonly #options: WebhookOptions;

  constructor(options: WebhookOptions) {
    this.#options = options;
    this.retry = options.retry;
  }

  async send(message: Message): Promise<void> {
    const { url, secret, timeoutMs } = this.#options;
    const body = JSON.stringify(message);
    const timestamp = String(Math.floor(Date.now() / MS_PER_SECOND));
    const signature = createHmac('sha256', secret.reveal()).update(`${timestamp}.${body}`).digest('hex');
    await post({
      who: `The webhook at ${new URL(url).host}`,
      url,
      body,
      headers: {
        'Content-Type': 'application/json',
        'X-Doorbell-Delivery': message.alert_id,
        'X-Doorbell-Timestamp': timestamp,
        'X-Doorbell-Signature': `sha256=${signature}`,
      },
      timeoutMs,
      secret,
    });
  }
}
