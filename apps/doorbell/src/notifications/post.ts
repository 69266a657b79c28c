import type { Secret } from '@changeover/runtime';
import { DeliveryError } from './channel.ts';

const MS_PER_SECOND = 1000;
const SHOWN_CHARACTERS = 200;
/** More of an answer is not read: nobody knows who answers. */
const MAX_ANSWER_BYTES = 64 * 1024;
const TOO_MANY_REQUESTS = 429;
/** Without these the same request would be refused again. */
const WORTH_ANOTHER_TRY = new Set([408, 425]);

export interface Post {
  /** How failures call the other side; addresses hold secrets. */
  readonly who: string;
  readonly url: string;
  readonly body: FormData | string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly timeoutMs: number;
  /** Never shown, not even where the answer repeats it. */
  readonly secret: Secret;
  /** Seconds of a pause that the answer's body asks for. */
  readonly retryAfter?: (answer: string) => number | null;
}

/** One POST without redirects. @throws DeliveryError where the answer is not 2xx, or there is none. */
export async function post({ who, url, body, headers, timeoutMs, secret, retryAfter }: Post): Promise<void> {
  const signal = AbortSignal.timeout(timeoutMs);
  let response: Response;
  let answer: string;
  try {
    response = await fetch(url, { method: 'POST', body, redirect: 'manual', signal, ...(headers ? { headers } : {}) });
    answer = await textOf(response);
  } catch (error) {
    // The original error is not a cause: it may show the address.
    const reason = signal.aborted ? `no answer within ${timeoutMs} ms` : codeOf(error);
    throw new DeliveryError(`${who} could not be reached: ${reason}`, 'failed');
  }
  const { status } = response;
  if (response.ok) return;
  const told = answer.replaceAll(secret.reveal(), '[secret]').slice(0, SHOWN_CHARACTERS);
  const text = `${who} answered ${status}${told === '' ? '' : `: ${told}`}`;
  const pauseMs = pauseOf(response.headers.get('retry-after'), retryAfter?.(answer) ?? null);
  if (status === TOO_MANY_REQUESTS) throw new DeliveryError(text, 'away', pauseMs);
  const isWorthIt = status >= 500 || WORTH_ANOTHER_TRY.has(status);
  throw new DeliveryError(text, isWorthIt ? 'failed' : 'refused', pauseMs);
}

async function textOf({ body }: Response): Promise<string> {
  if (body === null) return '';
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of body as unknown as AsyncIterable<Uint8Array>) {
    chunks.push(chunk);
    size += chunk.length;
    if (size > MAX_ANSWER_BYTES) break;
  }
  return Buffer.concat(chunks).toString('utf8');
}

function codeOf(error: unknown): string {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  if (cause instanceof Error) return 'code' in cause && typeof cause.code === 'string' ? cause.code : cause.name;
  return typeof cause;
}

/** The longer of the two; the header is seconds or a date. */
function pauseOf(header: string | null, seconds: number | null): number | null {
  const isSeconds = header !== null && /^\d{1,9}$/.test(header.trim());
  const fromHeader =
    header === null ? NaN : isSeconds ? Number(header) * MS_PER_SECOND : Date.parse(header) - Date.now();
  const pauses = [fromHeader, (seconds ?? NaN) * MS_PER_SECOND].filter((ms) => Number.isFinite(ms) && ms > 0);
  return pauses.length === 0 ? null : Math.max(...pauses);
}
