import { isoNow } from './files.ts';

interface Chats {
  readonly chatId: string;
  readonly additionalChatIds: readonly string[];
  readonly sendPhotos: boolean;
}

interface Message {
  readonly chatId: string;
  readonly text: string;
  readonly photo: string | null;
}

const MARKS = new Map([
  ['low', '🔵'],
  ['normal', '🟡'],
  ['urgent', '🔴'],
]);
/** The list stands for messages that have left; it must not grow for ever. */
const KEPT_MESSAGES = 200;

/** Telegram in development mode, which the entry point forces on: messages go to a list in memory and nowhere else. */
export class Notifier {
  readonly sent: Message[] = [];
  readonly #chats: Chats;

  constructor(chats: Chats) {
    this.#chats = chats;
  }

  /** `photo`: path of the picture to send along. */
  send(message: string, priority: string, photo: string | null = null): void {
    const text =
      `${MARKS.get(priority) ?? '🟡'} **DOORBELL SECURITY**\n\n${message}\n\n` +
      `Priority: ${priority.toUpperCase()}\nTimestamp: ${isoNow()}`;
    const chats = [this.#chats.chatId, ...(priority === 'urgent' ? this.#chats.additionalChatIds : [])];
    for (const chatId of chats) this.sent.push({ chatId, text, photo: this.#chats.sendPhotos ? photo : null });
    this.sent.splice(0, this.sent.length - KEPT_MESSAGES);
  }
}
