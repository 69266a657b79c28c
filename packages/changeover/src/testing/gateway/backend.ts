import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';

/** One request as a backend saw it. */
interface SeenRequest {
  readonly method: string;
  readonly url: string;
  readonly atMs: number;
}

/**
 * A side that a gateway forwards to: a real HTTP server whose answers are chosen by the path.
 *
 * `/echo` what arrived, as JSON · `/slow?ms=` after a while · `/bytes?n=` a body of that length · `/events` an event stream ·
 * `/ws` a WebSocket that echoes frames · `/drop` closes without an answer · `/half` stops in the middle · `/early` answers before
 * the upload has ended · `/head` sends the head at once and the body later.
 */
export interface Backend extends AsyncDisposable {
  readonly url: string;
  readonly port: number;
  readonly seen: readonly SeenRequest[];
  /** Requests that it is working on. */
  readonly working: () => number;
  /** Requests whose client went away before the answer. */
  readonly aborted: () => number;
  /** Ends all of its connections, as a restart would. */
  cutConnections(): void;
}

export async function startBackend(): Promise<Backend> {
  const seen: SeenRequest[] = [];
  let working = 0;
  let aborted = 0;
  const server = createServer((request, response) => {
    seen.push({ method: request.method ?? '', url: request.url ?? '', atMs: performance.now() });
    working += 1;
    response.on('close', () => {
      working -= 1;
      if (!response.writableFinished) aborted += 1;
    });
    const url = new URL(request.url ?? '/', 'http://backend');
    (ROUTES[url.pathname] ?? echo)(request, response, url.searchParams);
  });
  const sockets = trackSockets(server);
  server.on('upgrade', (request: IncomingMessage, socket: Socket, head: Buffer) => {
    seen.push({ method: 'UPGRADE', url: request.url ?? '', atMs: performance.now() });
    upgrade(request, socket, head);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    port,
    seen,
    working: () => working,
    aborted: () => aborted,
    cutConnections: () => {
      for (const socket of sockets) socket.destroy();
    },
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}

function trackSockets(server: Server): Set<Socket> {
  const sockets = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
  });
  return sockets;
}

type Route = (request: IncomingMessage, response: ServerResponse, query: URLSearchParams) => void;

const echo: Route = (request, response) => {
  const hash = createHash('sha256');
  let bytes = 0;
  request.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
    hash.update(chunk);
  });
  request.on('end', () => {
    response.setHeader('Content-Type', 'application/json').end(
      JSON.stringify({
        method: request.method,
        url: request.url,
        headers: request.headers,
        rawHeaders: request.rawHeaders,
        bytes,
        sha256: hash.digest('hex'),
        remotePort: request.socket.remotePort,
      }),
    );
  });
};

const ROUTES: Readonly<Record<string, Route>> = {
  '/slow': (request, response, query) => {
    request.resume();
    setTimeout(() => response.end('slow'), Number(query.get('ms') ?? 100));
  },
  '/bytes': (request, response, query) => {
    request.resume();
    let left = Number(query.get('n') ?? 1);
    if (query.has('length')) response.setHeader('Content-Length', left);
    const chunk = Buffer.alloc(64 * 1024, 'x');
    const write = (): void => {
      while (left > 0) {
        const part = left < chunk.length ? chunk.subarray(0, left) : chunk;
        left -= part.length;
        if (!response.write(part)) {
          response.once('drain', write);
          return;
        }
      }
      response.end();
    };
    write();
  },
  '/events': (request, response, query) => {
    request.resume();
    response.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-cache' });
    response.flushHeaders();
    let id = 0;
    const timer = setInterval(() => response.write(`id: ${(id += 1)}\ndata: tick\n\n`), Number(query.get('ms') ?? 20));
    response.on('close', () => {
      clearInterval(timer);
    });
  },
  '/drop': (request) => {
    request.socket.destroy();
  },
  '/half': (request, response) => {
    request.resume();
    response.writeHead(200, { 'Content-Length': 100 });
    response.write('half of it', () => request.socket.destroy());
  },
  '/early': (_request, response) => {
    response.writeHead(413, { 'Content-Type': 'text/plain' });
    response.end('too much');
  },
  '/head': (request, response) => {
    request.resume();
    response.writeHead(200, { 'Content-Length': 4 });
    response.flushHeaders();
    setTimeout(() => response.end('body'), 300);
  },
  '/trailers': (request, response) => {
    request.resume();
    response.writeHead(200, { Trailer: 'X-Checksum' });
    response.write('body');
    response.addTrailers({ 'X-Checksum': 'abc' });
    response.end();
  },
  '/headers': (request, response) => {
    request.resume();
    const cookies = ['Set-Cookie', 'a=1', 'Set-Cookie', 'b=2'];
    const hops = ['Connection', 'X-Hop', 'X-Hop', 'must not pass'];
    response.writeHead(299, 'Rather Fine', [...cookies, 'X-MiXeD', 'Case \u00e9', ...hops]);
    response.end('ok');
  },
  '/empty': (request, response) => {
    request.resume();
    response.writeHead(204).end();
  },
};

const WEBSOCKET_GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';

/** A WebSocket server as small as one can be: every byte after the handshake goes back unmasked, frame by frame. */
function upgrade(request: IncomingMessage, socket: Socket, head: Buffer): void {
  socket.on('error', () => socket.destroy()).on('end', () => socket.end());
  if (request.url !== '/ws') {
    socket.end('HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno');
    return;
  }
  const accept = createHash('sha1')
    .update(`${request.headers['sec-websocket-key'] ?? ''}${WEBSOCKET_GUID}`)
    .digest('base64');
  socket.write(
    `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`,
  );
  let buffer = head;
  const read = (chunk: Buffer): void => {
    buffer = Buffer.concat([buffer, chunk]);
    for (;;) {
      const frame = readFrame(buffer);
      if (frame === null) return;
      buffer = buffer.subarray(frame.bytes);
      socket.write(writeFrame(frame.opcode, frame.payload));
      if (frame.opcode === 8) socket.end();
    }
  };
  socket.on('data', read);
  read(Buffer.alloc(0));
}

export interface Frame {
  readonly opcode: number;
  readonly payload: Buffer;
  /** Length of the whole frame. */
  readonly bytes: number;
}

/** The first frame of `buffer`, unmasked, or null while it is incomplete. */
export function readFrame(buffer: Buffer): Frame | null {
  if (buffer.length < 2) return null;
  const short = buffer.readUInt8(1) & 0x7f;
  const extended = short === 126 ? 2 : short === 127 ? 8 : 0;
  const isMasked = (buffer.readUInt8(1) & 0x80) !== 0;
  const headBytes = 2 + extended + (isMasked ? 4 : 0);
  if (buffer.length < headBytes) return null;
  const length = extended === 2 ? buffer.readUInt16BE(2) : extended === 8 ? Number(buffer.readBigUInt64BE(2)) : short;
  if (buffer.length < headBytes + length) return null;
  const payload = Buffer.from(buffer.subarray(headBytes, headBytes + length));
  const mask = buffer.subarray(headBytes - 4, headBytes);
  if (isMasked)
    for (let index = 0; index < length; index += 1) payload[index] = (payload[index] ?? 0) ^ (mask[index % 4] ?? 0);
  return { opcode: buffer.readUInt8(0) & 0x0f, payload, bytes: headBytes + length };
}

/** A whole frame; masked when `mask` is given, as a client's must be. */
export function writeFrame(opcode: number, payload: Buffer, mask: Buffer | null = null): Buffer {
  const bit = mask === null ? 0 : 0x80;
  const head =
    payload.length < 126
      ? Buffer.from([0x80 | opcode, bit | payload.length])
      : payload.length < 65_536
        ? Buffer.from([0x80 | opcode, bit | 126, payload.length >> 8, payload.length & 0xff])
        : Buffer.concat([Buffer.from([0x80 | opcode, bit | 127]), bigLength(payload.length)]);
  if (mask === null) return Buffer.concat([head, payload]);
  return Buffer.concat([head, mask, Buffer.from(payload.map((byte, index) => byte ^ (mask[index % 4] ?? 0)))]);
}

function bigLength(length: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(BigInt(length));
  return bytes;
}
