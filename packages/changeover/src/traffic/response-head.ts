import { dropListed, screenFor } from './header-names.ts';

/** Head of an answer as it goes back to the client. */
export interface ResponseHead {
  /** The end-to-end headers in the server's order and spelling, duplicates included. */
  readonly headers: string[];
  /** What decides how the body is sent; null where the header is absent. */
  readonly length: string | null;
  readonly type: string | null;
  readonly encoding: string | null;
  readonly upgrade: string | null;
}

const SPECIAL: ReadonlySet<string> = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'transfer-encoding',
  'upgrade',
  'content-length',
  'content-type',
  'content-encoding',
]);
const mayBeSpecial = screenFor(SPECIAL);

/** Leaves the hop-by-hop headers behind: Node's server frames the message anew. */
export function readResponseHead(raw: readonly Buffer[]): ResponseHead {
  const headers: string[] = [];
  let length: string | null = null;
  let type: string | null = null;
  let encoding: string | null = null;
  let upgrade: string | null = null;
  let listed: string | null = null;
  for (let index = 0; index + 1 < raw.length; index += 2) {
    const nameBytes = raw[index] as Buffer;
    const name = nameBytes.toString('latin1');
    const value = (raw[index + 1] as Buffer).toString('latin1');
    const special = mayBeSpecial(nameBytes.length, nameBytes[0] ?? 0) ? name.toLowerCase() : '';
    switch (special) {
      case 'connection':
        listed = listed === null ? value : `${listed},${value}`;
        continue;
      case 'upgrade':
        upgrade = value;
        continue;
      case 'keep-alive':
      case 'proxy-connection':
      case 'transfer-encoding':
        continue;
      case 'content-length':
        length = value;
        break;
      case 'content-type':
        type = value;
        break;
      case 'content-encoding':
        encoding = value;
        break;
    }
    headers.push(name, value);
  }
  if (listed !== null) dropListed(headers, listed);
  return { headers, length, type, encoding, upgrade };
}
