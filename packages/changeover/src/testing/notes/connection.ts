import { Agent, request } from 'node:http';

/** What came back, or why nothing did. */
export type Reply =
  | { readonly status: number; readonly json: unknown; readonly side: string | null; readonly sentAt: number }
  | { readonly status: null; readonly error: string; readonly sentAt: number };

/** One keep-alive connection that sends one request at a time and never repeats one by itself. */
export class Connection {
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 1 });
  readonly #url: URL;
  readonly #timeoutMs: number;

  constructor(url: URL, timeoutMs: number) {
    this.#url = url;
    this.#timeoutMs = timeoutMs;
  }

  /** Never rejects: a request that was cut is an answer of its own. */
  send(method: string, path: string, body?: unknown): Promise<Reply> {
    const sentAt = performance.now();
    const bytes = body === undefined ? null : Buffer.from(JSON.stringify(body));
    return new Promise((resolve) => {
      const fail = (error: Error) => {
        resolve({ status: null, error: error.message, sentAt });
      };
      const outgoing = request(
        {
          agent: this.#agent,
          hostname: this.#url.hostname,
          port: this.#url.port,
          method,
          path,
          headers: bytes === null ? {} : { 'content-type': 'application/json', 'content-length': bytes.length },
          signal: AbortSignal.timeout(this.#timeoutMs),
        },
        (incoming) => {
          const chunks: Buffer[] = [];
          incoming.on('data', (chunk: Buffer) => chunks.push(chunk));
          incoming.on('error', fail);
          incoming.on('end', () => {
            const side = incoming.headers['x-notes-side'];
            resolve({
              status: incoming.statusCode ?? 0,
              json: parse(Buffer.concat(chunks).toString('utf8')),
              side: typeof side === 'string' ? side : null,
              sentAt,
            });
          });
        },
      );
      outgoing.on('error', fail);
      outgoing.end(bytes ?? undefined);
    });
  }

  close(): void {
    this.#agent.destroy();
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // A proxy answers its own errors in words.
    return text;
  }
}
