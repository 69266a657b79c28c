import { randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import type { Activity } from '../activity.ts';
import type { Settings } from '../settings.ts';
import type { NewNotification, NotificationMetadata, NotificationStatus, Storage } from '../storage/storage.ts';
import { RateLimiter } from './rate-limiter.ts';
import type { Telegram } from './telegram.ts';

export type Alert = keyof Settings['notifications']['alerts'] | 'test';

const TYPES: Readonly<Record<Alert, string>> = {
  blacklist_detection: 'blacklist_detected',
  known_person_detection: 'known_person_detected',
  unknown_person_detection: 'unknown_person_detected',
  no_face_detection: 'no_face_detected',
  system_alerts: 'system_alert',
  test: 'test_notification',
};

export interface Occasion {
  readonly title: string;
  readonly message: string;
  readonly priority?: NewNotification['priority'];
  readonly eventId?: string;
  readonly personId?: string;
  readonly personName?: string;
  readonly confidence?: number;
  /** File in the captures folder. */
  readonly capture?: string | null;
}

interface Content {
  readonly title: string;
  readonly message: string;
}

interface Parts {
  readonly settings: Settings['notifications'];
  readonly storage: Storage;
  readonly activity: Activity;
  readonly capturesFolder: string;
  /** Null: messages are only shown in the list of notifications. */
  readonly telegram: { readonly client: Telegram; readonly chatId: string } | null;
}

/** How often undelivered messages are looked for besides right after an event. */
const SWEEP_MS = 60_000;
const BATCH = 20;
const MARKS = { info: '🔵', warning: '🟡', critical: '🔴' } as const;

/**
 * An outbox: a message is a row that is written with its event, and is sent afterwards. What could not be sent before this side
 * became passive stays pending.
 */
export class Notifications {
  readonly #parts: Parts;
  readonly #limiter: RateLimiter;
  #timer: NodeJS.Timeout | undefined;
  #isSending = false;
  #isAskedAgain = false;

  constructor(parts: Parts) {
    this.#parts = parts;
    this.#limiter = new RateLimiter(parts.settings.rate_limiting);
    parts.activity.onChange((isActive) => {
      if (isActive) this.start();
      else clearInterval(this.#timer);
    });
  }

  /** Begins to send what is pending, now and from time to time. */
  start(): void {
    clearInterval(this.#timer);
    this.#timer = setInterval(() => {
      this.deliver();
    }, SWEEP_MS).unref();
    this.deliver();
  }

  /** The row for an occasion; null where such alerts are switched off. */
  prepare(alert: Alert, occasion: Occasion): NewNotification | null {
    const { settings } = this.#parts;
    const rule = alert === 'test' ? { enabled: true, priority: 'info' as const } : settings.alerts[alert];
    if (!rule.enabled) return null;
    const { title, message, eventId, personId, personName, confidence, capture = null } = occasion;
    const priority = occasion.priority ?? rule.priority;
    const alertId = randomUUID();
    const timestamp = new Date().toISOString();
    const type = TYPES[alert];
    const mayPass = priority === 'critical' && settings.priority_bypass_rate_limit;
    const isLimited = !mayPass && !this.#limiter.admit(personId === undefined ? type : `${type}_${personId}`);
    return {
      alertId,
      type,
      priority,
      status: isLimited ? 'rate_limited' : 'pending',
      timestamp,
      content: JSON.stringify({
        alert_id: alertId,
        alert_type: type,
        priority,
        timestamp,
        event_id: eventId ?? null,
        title,
        message,
        person_id: personId,
        person_name: personName,
        confidence,
        image_available: capture !== null,
        immediate_action_required: alert === 'blacklist_detection' ? true : undefined,
        requires_identification: alert === 'unknown_person_detection' ? true : undefined,
      }),
      metadata: { attempts: 0, capture },
    };
  }

  /** Sends what is pending, one run at a time. Its failures are kept in the rows. */
  deliver(): void {
    const { activity } = this.#parts;
    if (!activity.isActive) return;
    if (this.#isSending) {
      this.#isAskedAgain = true;
      return;
    }
    this.#isSending = true;
    void activity
      .run(() => this.#deliverPending())
      .catch((error: unknown) => {
        console.error('Notifications stay pending:', error);
      })
      .then(() => {
        this.#isSending = false;
        if (!this.#isAskedAgain) return;
        this.#isAskedAgain = false;
        this.deliver();
      });
  }

  /** Stores one message, tries to send it once, and tells whether it was delivered. */
  async deliverNow(notification: NewNotification): Promise<boolean> {
    const status = await this.#attempt(notification);
    await this.#parts.storage.addNotification({ ...notification, ...status });
    return status.status === 'delivered';
  }

  async #deliverPending(): Promise<void> {
    const { storage, activity, settings } = this.#parts;
    const pending = await storage.notifications('pending', BATCH);
    let isRetryDue = false;
    for (const notification of pending) {
      // Passive means that another side may send now; it does not wait for the rest of ours.
      if (!activity.isActive) return;
      const result = await this.#attempt(notification);
      await storage.updateNotification(notification.alertId, result.status, result.metadata);
      isRetryDue ||= result.status === 'pending';
    }
    if (isRetryDue)
      setTimeout(() => {
        this.deliver();
      }, settings.retry_delay * 1000).unref();
    else this.#isAskedAgain ||= pending.length === BATCH;
  }

  async #attempt(
    notification: NewNotification,
  ): Promise<{ readonly status: NotificationStatus; readonly metadata: NotificationMetadata }> {
    const { settings } = this.#parts;
    const attempts = notification.metadata.attempts + 1;
    const { capture } = notification.metadata;
    try {
      await this.#send(notification);
      return { status: 'delivered', metadata: { attempts, capture } };
    } catch (error) {
      const status = attempts >= settings.retry_attempts ? 'failed' : 'pending';
      return { status, metadata: { attempts, capture, error: error instanceof Error ? error.message : String(error) } };
    }
  }

  async #send({ content, priority, timestamp, metadata }: NewNotification): Promise<void> {
    const { telegram, settings } = this.#parts;
    if (!telegram) return;
    const { title, message } = JSON.parse(content) as Content;
    const text = `${MARKS[priority]} ${title}\n\n${message}\n\nPriority: ${priority.toUpperCase()}\nTimestamp: ${timestamp}`;
    const photo = metadata.capture === null ? null : await this.#photo(metadata.capture);
    const chats = [telegram.chatId, ...(priority === 'critical' ? settings.emergency_contacts : [])];
    for (const chat of chats) await telegram.client.send(chat, text, photo);
  }

  /** A picture that is gone or too large does not hold the message up. */
  async #photo(capture: string): Promise<Uint8Array | null> {
    const { capturesFolder, settings } = this.#parts;
    const bytes = await readFile(path.join(capturesFolder, path.basename(capture))).catch(() => null);
    return bytes && bytes.length <= settings.max_image_bytes ? bytes : null;
  }
}
