import type {
  ChannelState,
  NewNotification,
  NotificationMetadata,
  NotificationStatus,
  Storage,
} from '../storage/storage.ts';
import type { Channel, Content, Message } from './channel.ts';

const NOT_BEGUN: ChannelState = { status: 'pending', attempts: 0 };

/** A pending row, and how far each of its channels is. */
export class Entry {
  readonly channels: readonly Channel[];
  /** Milliseconds since the epoch: waits for others of its type. */
  heldUntil = 0;
  /** Waits for no others any more. */
  isReleased = false;
  readonly #row: NewNotification;
  readonly #states = new Map<string, ChannelState>();
  #folded: NotificationMetadata['folded'];
  #written = 0;
  #saving: Promise<void> = Promise.resolve();

  constructor(row: NewNotification, channels: readonly Channel[]) {
    this.#row = row;
    this.channels = channels;
    this.#folded = row.metadata.folded;
    for (const [name, state] of Object.entries(row.metadata.channels ?? {})) this.#states.set(name, state);
  }

  get id(): string {
    return this.#row.alertId;
  }

  get type(): string {
    return this.#row.type;
  }

  get priority(): NewNotification['priority'] {
    return this.#row.priority;
  }

  get title(): string {
    return this.#content.title;
  }

  get folded(): NotificationMetadata['folded'] {
    return this.#folded;
  }

  get ageMs(): number {
    return Date.now() - Date.parse(this.#row.timestamp);
  }

  /** No channel has tried it. */
  get isFresh(): boolean {
    return this.#states.size === 0 && this.#row.metadata.attempts === 0;
  }

  /** Changes with whatever has to be stored. */
  get written(): number {
    return this.#written;
  }

  get status(): NotificationStatus {
    const states = this.channels.map((channel) => this.state(channel).status);
    if (states.includes('pending')) return 'pending';
    return states.includes('failed') ? 'failed' : 'delivered';
  }

  get metadata(): NotificationMetadata {
    const { attempts, capture } = this.#row.metadata;
    const states = [...this.#states.values()];
    const error = states.find((state) => state.error !== undefined)?.error;
    return {
      attempts: Math.max(attempts, ...states.map((state) => state.attempts)),
      capture,
      ...(error === undefined ? {} : { error }),
      ...(states.length === 0 ? {} : { channels: Object.fromEntries(this.#states) }),
      ...(this.#folded === undefined ? {} : { folded: this.#folded }),
    };
  }

  state(channel: Channel): ChannelState {
    return this.#states.get(channel.name) ?? NOT_BEGUN;
  }

  set(channel: Channel, state: ChannelState): void {
    // A broker that is away for hours is no reason to write every second.
    if (JSON.stringify(state) === JSON.stringify(this.state(channel))) return;
    this.#states.set(channel.name, state);
    this.#written += 1;
  }

  /** Tells of others too from now on. */
  fold(others: readonly Entry[]): void {
    const ids = [...(this.#folded?.ids ?? []), ...others.flatMap((one) => [...(one.folded?.ids ?? []), one.id])];
    const titles = [
      ...(this.#folded?.titles ?? []),
      ...others.flatMap((one) => [...(one.folded?.titles ?? []), one.title]),
    ];
    this.#folded = { ids, titles: [...new Set(titles)] };
  }

  /** When a channel may try it, in milliseconds since the epoch; never where it has done so. */
  dueAt(channel: Channel): number {
    if (!this.channels.includes(channel)) return Infinity;
    const { status, next } = this.state(channel);
    if (status !== 'pending') return Infinity;
    return Math.max(this.heldUntil, next === undefined ? 0 : Date.parse(next));
  }

  message(picture: Message['picture']): Message {
    const content = this.#content;
    const count = 1 + (this.#folded?.ids.length ?? 0);
    if (count === 1) return { ...content, count, picture };
    const titles = [...new Set([...(this.#folded?.titles ?? []), content.title])];
    const others = titles.filter((title) => title !== content.title);
    return {
      ...content,
      title: `${content.title} (${count} times)`,
      message: [content.message, ...others].join('\n'),
      count,
      picture,
    };
  }

  /** Writes the state as it is then; the last write is the latest state, whatever order their answers have. */
  save(storage: Storage): Promise<void> {
    const previous = this.#saving;
    this.#saving = (async () => {
      await Promise.allSettled([previous]);
      await storage.updateNotification(this.id, this.status, this.metadata);
    })();
    return this.#saving;
  }

  /** It is told of by another one. */
  async foldInto(storage: Storage): Promise<void> {
    await storage.updateNotification(this.id, 'aggregated', this.metadata);
  }

  /** Rows of earlier versions, and of other programs, may lack anything. */
  get #content(): Content {
    const { alertId, type, priority, timestamp, content } = this.#row;
    const known = { alert_id: alertId, alert_type: type, priority, timestamp };
    return { event_id: null, title: type, message: '', ...(JSON.parse(content) as Partial<Content>), ...known };
  }
}
