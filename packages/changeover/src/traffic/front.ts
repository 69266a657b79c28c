import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

import { ChangeoverError } from '../errors.ts';
import { Exchange, type Desk } from './exchange.ts';
import { readRequestHead } from './request-head.ts';
import { responseOn, UpgradeExchange } from './upgrade.ts';
import { MAX_HEAD_BYTES } from './upstream.ts';

/** Longer than that of clients and of proxies in front (60 s as a rule), so that it is they who close an idle connection. */
const KEEP_ALIVE_MS = 65_000;

/** Connections that were told so already: Node reports some errors of framing after it has handed out the request. */
const rejectedSockets = new WeakSet<Socket>();

/** The answer that Node is working on, where its own handling of malformed messages looks for it too. */
interface HttpSocket extends Socket {
  readonly _httpMessage?: ServerResponse | null;
}

/**
 * The HTTP server of a worker: refuses what is malformed, and brings everything else to the gate.
 *
 * @param deskOf The gate of the slice that a request is of. Default: the one of all.
 */
export function createFront(desk: Desk, deskOf: (request: IncomingMessage) => Desk = () => desk): Server {
  const server = createServer({
    keepAliveTimeout: KEEP_ALIVE_MS,
    // Uploads take as long as they take; only the head has a time limit (Node's 60 s).
    requestTimeout: 0,
    maxHeaderSize: MAX_HEAD_BYTES,
    requireHostHeader: false,
    insecureHTTPParser: false,
    noDelay: true,
    // Other upgrades (h2c) may be ignored, and are: their requests go on as HTTP/1.1.
    shouldUpgradeCallback: (request: IncomingMessage) => request.headers.upgrade?.toLowerCase() === 'websocket',
  });
  // Node would drop headers beyond a count silently; the size of the head is limited anyway.
  server.maxHeadersCount = 0;

  const accept = (request: IncomingMessage, response: ServerResponse): void => {
    const head = readRequestHead(request, false);
    if (typeof head === 'string') {
      reject(desk, response, head);
      return;
    }
    const own = deskOf(request);
    own.ledger.accepted += 1;
    own.admission.admit(new Exchange(own, head, request, response));
  };
  server.on('request', accept);
  server.on('checkContinue', accept);
  server.on('checkExpectation', accept);

  server.on('upgrade', (request: IncomingMessage, socket: Socket, early: Buffer) => {
    const head = readRequestHead(request, true);
    if (typeof head === 'string') {
      reject(desk, responseOn(socket, request), head);
      return;
    }
    const own = deskOf(request);
    own.ledger.accepted += 1;
    own.admission.admit(new UpgradeExchange(own, head, request, socket, early));
  });
  server.on('connect', (request: IncomingMessage, socket: Socket) => {
    reject(desk, responseOn(socket, request), 'CONNECT, which is for forward proxies');
  });
  server.on('clientError', (error: NodeJS.ErrnoException, socket: Socket) => {
    rejectUnparsed(desk, error, socket);
  });
  return server;
}

function reject(desk: Desk, response: ServerResponse, reason: string): void {
  desk.ledger.rejected += 1;
  if (response.socket !== null) rejectedSockets.add(response.socket);
  const error = new ChangeoverError('CHG_TRAFFIC_REQUEST_MALFORMED', { reason });
  const body = `${JSON.stringify({ error: { code: error.code, message: error.message, hint: error.hint } })}\n`;
  const headers = ['Content-Type', 'application/json', 'Content-Length', String(Buffer.byteLength(body))];
  // Whatever follows on this connection might be read differently by us and by the sender.
  response.writeHead(400, [...headers, 'Connection', 'close']);
  response.end(body);
}

/** What Node's strict parser refused. Where the head had been accepted, the request gets its outcome when the connection ends. */
function rejectUnparsed(desk: Desk, error: NodeJS.ErrnoException, socket: HttpSocket): void {
  const status = statusOf(error.code ?? '');
  if (status === null || rejectedSockets.has(socket)) {
    socket.destroySoon();
    return;
  }
  desk.ledger.rejected += 1;
  // Once it is begun an answer cannot be replaced, and one to an earlier, whole request must not be.
  const answer = socket._httpMessage;
  const isAnswering = answer != null && (answer.headersSent || answer.req.complete);
  if (isAnswering || !socket.writable) {
    socket.destroy();
    return;
  }
  socket.end(`HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`, () => socket.destroy());
}

function statusOf(code: string): string | null {
  if (code === 'HPE_HEADER_OVERFLOW') return '431 Request Header Fields Too Large';
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT') return '408 Request Timeout';
  return code.startsWith('HPE_') ? '400 Bad Request' : null;
}
