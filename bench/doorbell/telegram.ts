import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface TelegramServer extends AsyncDisposable {
  readonly url: string;
  /** When each message had arrived as a whole, on the clock of `performance.now()`. */
  readonly arrivals: number[];
}

/** Speaks as much of Telegram's bot API as a bot that only sends needs: every message is taken. */
export async function startTelegram(): Promise<TelegramServer> {
  const arrivals: number[] = [];
  const server = createServer((request, response) => {
    request.resume().once('end', () => {
      arrivals.push(performance.now());
      response.setHeader('content-type', 'application/json').end('{"ok":true,"result":{}}');
    });
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    arrivals,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}
