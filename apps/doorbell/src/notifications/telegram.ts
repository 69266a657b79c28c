import type { Secret } from '@changeover/runtime';
import { type Channel, DeliveryError, type Message } from './channel.ts';
import { post } from './post.ts';

const DEFAULT_API_URL = 'https://api.telegram.org';
const MARKS = { info: '🔵', warning: '🟡', critical: '🔴' } as const;
/** Longer texts are refused. */
const MAX_CHARACTERS = { sendMessage: 4096, sendPhoto: 1024 } as const;

export interface TelegramOptions {
  readonly token: Secret;
  readonly chatId: string;
  /** Chats that get critical messages too. */
  readonly emergencyChatIds: readonly string[];
  /** Default: Telegram's own. */
  readonly apiUrl?: string;
  readonly timeoutMs: number;
  readonly retry: Channel['retry'];
}

/** Messages through the bot API, with the picture. */
export class Telegram implements Channel {
  readonly name = 'telegram';
  readonly retry: Channel['retry'];
  readonly #options: TelegramOptions;

  constructor(options: TelegramOptions) {
    this.#options = options;
    this.retry = options.retry;
  }

  async send(message: Message, served: Set<string>): Promise<void> {
    const { chatId, emergencyChatIds } = this.#options;
    const chats = [chatId, ...(message.priority === 'critical' ? emergencyChatIds : [])];
    let refusal: DeliveryError | undefined;
    for (const chat of chats) {
      if (served.has(chat)) continue;
      try {
        await this.#sendTo(chat, message);
        served.add(chat);
      } catch (error) {
        // A chat that has blocked the bot keeps nobody else from an alarm.
        if (!(error instanceof DeliveryError) || error.kind !== 'refused') throw error;
        refusal ??= error;
      }
    }
    if (refusal) throw refusal;
  }

  async #sendTo(chat: string, message: Message): Promise<void> {
    const { token, apiUrl = DEFAULT_API_URL, timeoutMs } = this.#options;
    const photo = await message.picture();
    const method = photo ? 'sendPhoto' : 'sendMessage';
    const form = new FormData();
    form.set('chat_id', chat);
    form.set(photo ? 'caption' : 'text', textOf(message).slice(0, MAX_CHARACTERS[method]));
    if (photo) form.set('photo', new Blob([Uint8Array.from(photo)], { type: 'image/jpeg' }), 'visitor.jpg');
    await post({
      who: 'Telegram',
      url: `${apiUrl}/bot${token.reveal()}/${method}`,
      body: form,
      timeoutMs,
      secret: token,
      retryAfter,
    });
  }
}

function textOf({ title, message, priority, timestamp }: Message): string {
  return `${MARKS[priority]} ${title}\n\n${message}\n\nPriority: ${priority.toUpperCase()}\nTimestamp: ${timestamp}`;
}

/** https://core.telegram.org/bots/api#responseparameters */
function retryAfter(answer: string): number | null {
  try {
    const { parameters } = JSON.parse(answer) as { parameters?: { retry_after?: unknown } };
    return typeof parameters?.retry_after === 'number' ? parameters.retry_after : null;
  } catch {
    return null; // a proxy's page says nothing about it
  }
}
