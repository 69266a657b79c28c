import { randomUUID } from 'node:crypto';
import type { Activity } from '../activity.ts';
import type { Settings } from '../settings.ts';
import type { NewNotification, Storage } from '../storage/storage.ts';
import type { Channel } from './channel.ts';
import { Outbox } from './outbox.ts';
import { RateLimiter } from './rate-limiter.ts';

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

interface Parts {
  readonly settings: Settings['notifications'];
  readonly storage: Storage;
  readonly activity: Activity;
  readonly capturesFolder: string;
  /** Those that are configured. */
  readonly channels: readonly Channel[];
}

/**
 * What is told to the household, and how often. A message is a row that is written with its event, and is sent afterwards; what could not be sent
 * before this side became passive stays pending.
 */
export class Notifications {
  readonly #parts: Parts;
  readonly #limiter: RateLimiter;
  readonly #outbox: Outbox;

  constructor(parts: Parts) {
    this.#parts = parts;
    this.#limiter = new RateLimiter(parts.settings.rate_limiting);
    this.#outbox = new Outbox(parts);
    parts.activity.onChange((isActive) => {
      if (isActive) this.start();
      else void parts.activity.goOn(() => this.stop());
    });
  }

  /** Connects the channels, and begins to send what is pending, now and from time to time. */
  start(): void {
    this.#outbox.start();
  }

  /** Resolves when nothing is being sent and no channel is connected. */
  stop(): Promise<void> {
    return this.#outbox.stop();
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

  /** Sends what is pending. Its failures are kept in the rows. */
  deliver(): void {
    this.#outbox.deliver();
  }

  /** Stores one message, tries to send it once, and tells whether it was delivered everywhere. */
  deliverNow(notification: NewNotification): Promise<boolean> {
    return this.#outbox.deliverNow(notification);
  }
}
