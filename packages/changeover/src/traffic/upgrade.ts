import { ServerResponse, type IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';

import type { Dispatcher } from 'undici';

import { Exchange, type Desk } from './exchange.ts';
import type { RequestHead } from './request-head.ts';
import { readResponseHead } from './response-head.ts';
import { Splice } from './splice.ts';
import type { Route } from './upstream.ts';

/**
 * A request to leave HTTP (WebSocket). It passes the gate like a write, because it can write later. When the backend declines, its
 * answer goes back like any other; when it accepts, the two sockets are joined and counted as a long connection.
 */
export class UpgradeExchange extends Exchange {
  readonly #socket: Socket;
  readonly #early: Buffer;
  readonly #protocol: string;
  readonly #response: ServerResponse;

  constructor(desk: Desk, head: RequestHead, request: IncomingMessage, socket: Socket, early: Buffer) {
    const response = responseOn(socket, request);
    super(desk, head, request, response, true);
    this.#socket = socket;
    this.#early = early;
    this.#protocol = request.headers.upgrade ?? '';
    this.#response = response;
  }

  protected override dispatch(route: Route): void {
    super.dispatch(route, this.#protocol);
  }

  onRequestUpgrade(
    controller: Dispatcher.DispatchController,
    _status: number,
    _headers: unknown,
    upstream: Socket,
  ): void {
    this.upstreamOver();
    if (this.#socket.destroyed) {
      upstream.destroy();
      return;
    }
    const { desk } = this;
    const { headers: raw, upgrade } = readResponseHead(controller.rawHeaders as Buffer[]);
    const protocol = upgrade ?? this.#protocol;
    const lines = ['HTTP/1.1 101 Switching Protocols', 'Connection: Upgrade', `Upgrade: ${protocol}`];
    for (let index = 0; index < raw.length; index += 2) lines.push(`${raw[index] ?? ''}: ${raw[index + 1] ?? ''}`);
    this.#response.detachSocket(this.#socket);
    this.#socket.write(`${lines.join('\r\n')}\r\n\r\n`, 'latin1');
    if (this.#early.length > 0) this.#socket.unshift(this.#early);
    const splice = new Splice(this.side, this.#socket, upstream, protocol.toLowerCase() === 'websocket', () => {
      desk.streams.remove(splice);
      this.settle('completed');
    });
    desk.streams.add(splice);
  }
}

/** Node hands an upgrade over as a bare socket; answers that are no upgrade are still written by Node. */
export function responseOn(socket: Socket, request: IncomingMessage): ServerResponse {
  const response = new ServerResponse(request);
  response.shouldKeepAlive = false;
  response.assignSocket(socket);
  response.on('finish', () => socket.end());
  socket.on('error', () => socket.destroy());
  return response;
}
