import { request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';

export interface Answer {
  /** Null when there was none. */
  readonly status: number | null;
  /** At most the first megabyte. */
  readonly body: string;
  /** For people: `500: out of memory` or `no answer (ECONNREFUSED)`. */
  readonly shown: string;
}

const MAX_BODY_BYTES = 1 << 20;
const SHOWN_CHARACTERS = 200;

/**
 * One request on a connection of its own, closed afterwards: an idle connection of ours must not keep a unit from ending. Never
 * rejects but for the abort of `signal`.
 */
export function ask(
  method: 'GET' | 'POST',
  url: URL,
  { timeoutMs, signal }: { readonly timeoutMs: number; readonly signal: AbortSignal },
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const request = (url.protocol === 'https:' ? httpsRequest : httpRequest)(url, {
      method,
      agent: false,
      headers: { connection: 'close', 'content-length': 0, 'user-agent': 'changeover' },
      signal: AbortSignal.any([signal, AbortSignal.timeout(Math.max(1, Math.ceil(timeoutMs)))]),
    });
    const noAnswer = (error: Error): void => {
      if (signal.aborted) {
        reject(error);
        return;
      }
      const why =
        error.name === 'AbortError'
          ? `${Math.round(timeoutMs)} ms`
          : 'code' in error
            ? String(error.code)
            : error.message;
      resolve({ status: null, body: '', shown: `no answer (${why})` });
    };
    request.once('error', noAnswer);
    request.once('response', (response) => {
      const chunks: Buffer[] = [];
      let bytes = 0;
      const finish = (): void => {
        const body = Buffer.concat(chunks).toString('utf8');
        const status = response.statusCode ?? 0;
        const excerpt = body.replaceAll(/\s+/g, ' ').trim().slice(0, SHOWN_CHARACTERS);
        resolve({ status, body, shown: excerpt === '' ? String(status) : `${status}: ${excerpt}` });
      };
      response.on('data', (chunk: Buffer) => {
        chunks.push(chunk);
        bytes += chunk.length;
        if (bytes < MAX_BODY_BYTES) return;
        finish();
        request.destroy();
      });
      response.once('end', finish);
      response.once('error', noAnswer);
    });
    request.end();
  });
}
