const DEFAULT_API_URL = 'https://api.telegram.org';

export interface TelegramOptions {
  readonly token: string;
  /** Default: Telegram's own. */
  readonly apiUrl?: string;
  readonly timeoutMs: number;
}

/** Sends messages through the bot API. Rejects when Telegram does not confirm. */
export class Telegram {
  readonly #base: string;
  readonly #timeoutMs: number;

  constructor({ token, apiUrl = DEFAULT_API_URL, timeoutMs }: TelegramOptions) {
    this.#base = `${apiUrl}/bot${token}`;
    this.#timeoutMs = timeoutMs;
  }

  async send(chatId: string, text: string, photo: Uint8Array | null): Promise<void> {
    const form = new FormData();
    form.set('chat_id', chatId);
    form.set(photo ? 'caption' : 'text', text);
    if (photo) form.set('photo', new Blob([Uint8Array.from(photo)], { type: 'image/jpeg' }), 'visitor.jpg');
    const method = photo ? 'sendPhoto' : 'sendMessage';
    const response = await fetch(`${this.#base}/${method}`, {
      method: 'POST',
      body: form,
      signal: AbortSignal.timeout(this.#timeoutMs),
    });
    const answer = await response.text();
    // The address holds the token and must not get into a log.
    if (!response.ok) throw new Error(`Telegram answered ${response.status} to ${method}: ${answer.slice(0, 200)}`);
  }
}
