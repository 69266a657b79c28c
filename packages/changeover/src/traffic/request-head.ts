import type { IncomingMessage } from 'node:http';

import { dropListed, screenFor } from './header-names.ts';

/** Head of a request as it is sent to a side. */
export interface RequestHead {
  readonly path: string;
  /** Flat name, value list: end-to-end headers in the client's order and spelling, then the forwarding ones. */
  readonly headers: string[];
  /** Length of the body; -1 when it is chunked, 0 when there is none. */
  readonly bodyLength: number;
  readonly expectsContinue: boolean;
  readonly bytes: number;
}

type Fate =
  | 'pass'
  | 'drop'
  | 'connection'
  | 'host'
  | 'length'
  | 'coding'
  | 'expect'
  | 'for'
  | 'proto'
  | 'forwardedHost'
  | 'forwarded';

const FATES: ReadonlyMap<string, Fate> = new Map<string, Fate>([
  ['connection', 'connection'],
  ['keep-alive', 'drop'],
  ['proxy-connection', 'drop'],
  ['proxy-authenticate', 'drop'],
  ['proxy-authorization', 'drop'],
  ['te', 'drop'],
  ['upgrade', 'drop'],
  ['host', 'host'],
  ['content-length', 'length'],
  ['transfer-encoding', 'coding'],
  ['expect', 'expect'],
  ['x-forwarded-for', 'for'],
  ['x-forwarded-proto', 'proto'],
  ['x-forwarded-host', 'forwardedHost'],
  ['forwarded', 'forwarded'],
]);

const mayBeSpecial = screenFor(FATES.keys());

function fateOf(name: string): Fate {
  if (!mayBeSpecial(name.length, name.charCodeAt(0))) return 'pass';
  return FATES.get(name.toLowerCase()) ?? 'pass';
}

/**
 * Reads the head that Node's strict parser let through and returns what goes upstream, or, as a string, why the message is refused:
 * everything on whose framing or target two servers could disagree (RFC 9112, sections 3.2 and 6.3).
 */
export function readRequestHead(request: IncomingMessage, isUpgrade: boolean): RequestHead | string {
  const raw = request.rawHeaders;
  const headers: string[] = [];
  let host: string | null = null;
  let length: string | null = null;
  let isChunked = false;
  let expectsContinue = false;
  let listed: string | null = null;
  let chain = '';
  let proto: string | null = null;
  let originalHost: string | null = null;
  let forwarded = '';
  let bytes = 0;

  for (let index = 0; index < raw.length; index += 2) {
    const name = raw[index] ?? '';
    const value = raw[index + 1] ?? '';
    bytes += name.length + value.length;
    switch (fateOf(name)) {
      case 'pass':
        headers.push(name, value);
        break;
      case 'drop':
        break;
      case 'connection':
        listed = listed === null ? value : `${listed},${value}`;
        break;
      case 'host':
        if (host !== null) return 'more than one Host';
        host = value;
        break;
      case 'length':
        if (length !== null) return 'more than one Content-Length';
        if (!/^\d{1,15}$/.test(value)) return 'a Content-Length that is no number';
        length = value;
        break;
      case 'coding':
        if (isChunked || value.toLowerCase() !== 'chunked') return 'a Transfer-Encoding other than chunked';
        isChunked = true;
        break;
      case 'expect':
        if (value.toLowerCase() !== '100-continue') return 'an Expect other than 100-continue';
        expectsContinue = true;
        break;
      case 'for':
        chain = chain === '' ? value : `${chain}, ${value}`;
        break;
      case 'proto':
        proto = value;
        break;
      case 'forwardedHost':
        originalHost = value;
        break;
      case 'forwarded':
        forwarded = forwarded === '' ? value : `${forwarded}, ${value}`;
        break;
    }
  }

  if (length !== null && isChunked) return 'Content-Length together with Transfer-Encoding';
  if (isChunked && request.httpVersionMinor === 0) return 'Transfer-Encoding in HTTP/1.0';
  if (host === null && request.httpVersionMinor !== 0) return 'no Host';
  if (isUpgrade && (isChunked || (length !== null && length !== '0'))) return 'an upgrade with a body';
  const path = originForm(request.url ?? '', host);
  if (path === null) return 'a target that is no path of this host';

  // Our own headers come after the dropping, so that no Connection header can name them away. They are in lower case because undici
  // compares in lower case.
  if (listed !== null) dropListed(headers, listed);
  const client = request.socket.remoteAddress ?? 'unknown';
  if (host !== null) headers.push('host', host);
  if (length !== null) headers.push('content-length', length);
  const own = forwardedFor(client, host ?? '');
  headers.push('x-forwarded-for', chain === '' ? client : `${chain}, ${client}`, 'x-forwarded-proto', proto ?? 'http');
  if (originalHost !== null || host !== null) headers.push('x-forwarded-host', originalHost ?? host ?? '');
  headers.push('forwarded', forwarded === '' ? own : `${forwarded}, ${own}`);
  return { path, headers, bodyLength: isChunked ? -1 : Number(length ?? 0), expectsContinue, bytes };
}

let latest = { client: '', host: '', text: '' };

/** RFC 7239. Nearly every request has the client and the host of the one before. */
function forwardedFor(client: string, host: string): string {
  if (latest.client !== client || latest.host !== host) {
    const node = client.includes(':') ? `"[${client}]"` : client;
    // Inside quotes a quote or a backslash would end the value early.
    const quoted = /["\\]/.test(host) ? '' : host;
    latest = { client, host, text: `for=${node};host="${quoted}";proto=http` };
  }
  return latest.text;
}

/** `http://host/path` is only another spelling of `/path` when it names the same host; null for anything else (RFC 9112, 3.2.2). */
function originForm(target: string, host: string | null): string | null {
  if (target.startsWith('/')) return target;
  const match = /^https?:\/\/([^/?#]+)([^#]*)$/i.exec(target);
  if (match === null || match[1]?.toLowerCase() !== host?.toLowerCase()) return null;
  const path = match[2] ?? '';
  return path.startsWith('/') ? path : `/${path}`;
}
