import type { Response } from 'undici';
import { ChangeoverError } from '../errors.ts';
import { parseDuration, type Duration } from '../plan/duration.ts';
import type { Check } from '../plan/ports.ts';
import { hashOf, isSecretName, specOf } from '../plan/spec.ts';
import type { Verdict } from '../plan/words.ts';
import type { Context } from '../plan/context.ts';
import { inconclusive, reasonOf } from './verdict.ts';

/** Default of `timeout`. */
const HTTP_TIMEOUT_MS = 5_000;
/** Longest body that a condition is given: 4 MiB. */
export const MAX_BODY_BYTES = 4 * 1024 * 1024;

/** A condition on the JSON that was answered. Only `true` passes; what it throws is the reason of the failure. */
export type Condition<Body> = (body: Body) => boolean | Promise<boolean>;

export interface HttpOptions<Body = unknown> {
  /** The status, or a condition on the JSON of an answer with a status of 200 to 299. Default: such a status. */
  readonly expect?: number | Condition<Body>;
  /** Default: method and path. */
  readonly name?: string;
  /** Default `GET`. A check is repeated at any time, so the request must change nothing. */
  readonly method?: 'GET' | 'HEAD' | 'OPTIONS' | 'POST';
  readonly headers?: Readonly<Record<string, string>>;
  /** Longest wait for the whole answer. Default 5 s. */
  readonly timeout?: Duration;
}

/**
 * Asks the side that serves, through the gateway, and judges the answer. PASS and FAIL rest on an answer, or on a refused connection;
 * no answer in time, or one too long to read, is INCONCLUSIVE. Redirects are not followed.
 *
 * Throws `CHG_VERIFY_CHECK` for a path that does not begin with a slash.
 *
 * @example
 * ```ts
 * const checks = [
 *   http('/api/status'),
 *   http('/api/status', (status: { processing: boolean }) => !status.processing),
 *   http('/api/gone', { expect: 410, timeout: '2s' }),
 * ];
 * ```
 */
export function http<Body = unknown>(path: string, expected: number | Condition<Body> | HttpOptions<Body> = {}): Check {
  const options: HttpOptions<Body> = typeof expected === 'object' ? expected : { expect: expected };
  const { method = 'GET', headers = {}, timeout = HTTP_TIMEOUT_MS } = options;
  const name = options.name ?? `${method} ${path}`;
  if (!path.startsWith('/')) {
    throw new ChangeoverError('CHG_VERIFY_CHECK', { check: name, reason: 'its path must begin with a slash' });
  }
  const timeoutMs = parseDuration(timeout);
  const shownHeaders = Object.entries(headers).map(([header, value]) => [
    header,
    isSecretName(header) ? hashOf(value) : value,
  ]);
  return {
    name,
    spec: specOf({ http: path, method, headers: shownHeaders, expect: options.expect ?? null, timeoutMs }),
    async run(ctx, { url }) {
      if (url === null) return [inconclusive(name, 'nobody to ask: the gateway is not running')];
      return [
        await ask(ctx, name, `${url.replace(/\/$/, '')}${path}`, {
          method,
          headers,
          timeoutMs,
          expect: options.expect,
        }),
      ];
    },
  };
}

async function ask<Body>(
  ctx: Context,
  check: string,
  url: string,
  {
    method,
    headers,
    timeoutMs,
    expect,
  }: {
    readonly method: string;
    readonly headers: Readonly<Record<string, string>>;
    readonly timeoutMs: number;
    readonly expect: number | Condition<Body> | undefined;
  },
): Promise<Verdict> {
  const limit = AbortSignal.timeout(timeoutMs);
  const startedAtMs = ctx.clock.monotonicMs();
  // An agent of its own: a check leaves no idle connection behind that a drain would have to wait for.
  const { Agent, fetch } = await import('undici');
  const dispatcher = new Agent();
  try {
    const answer = await fetch(url, {
      method,
      headers: { accept: 'application/json, */*;q=0.5', ...headers },
      redirect: 'manual',
      signal: AbortSignal.any([ctx.signal, limit]),
      dispatcher,
    });
    const tookMs = Math.round(ctx.clock.monotonicMs() - startedAtMs);
    const wanted = typeof expect === 'number' ? expect : null;
    const isExpected = wanted === null ? answer.ok : answer.status === wanted;
    if (isExpected && typeof expect === 'function') return await judge(check, expect, answer);
    const evidence = isExpected
      ? `${answer.status} after ${tookMs} ms`
      : `expected ${wanted ?? 'a status of 200 to 299'}, received ${answer.status} after ${tookMs} ms`;
    return { check, outcome: isExpected ? 'PASS' : 'FAIL', evidence, measured: 1 };
  } catch (error) {
    ctx.signal.throwIfAborted();
    if (limit.aborted) return inconclusive(check, `no whole answer within ${timeoutMs} ms`);
    // Nobody listens, or the connection broke: that is an answer of its own.
    return { check, outcome: 'FAIL', evidence: reasonOf(error), measured: 1 };
  } finally {
    await dispatcher.destroy();
  }
}

async function judge<Body>(check: string, condition: Condition<Body>, answer: Response): Promise<Verdict> {
  const { status } = answer;
  const fail = (evidence: string): Verdict => ({
    check,
    outcome: 'FAIL',
    evidence: `${status}, but ${evidence}`,
    measured: 1,
  });
  const text = await readText(answer);
  if (text === null) return inconclusive(check, `${status}, but more than ${MAX_BODY_BYTES} bytes: too long to judge`);
  let json: Body;
  try {
    json = JSON.parse(text) as Body;
  } catch {
    return fail(`expected JSON, received ${describe(answer, text)}`);
  }
  try {
    const result: unknown = await condition(json);
    if (result === true)
      return { check, outcome: 'PASS', evidence: `${status}, and ${shorten(condition)}`, measured: 1 };
    return fail(
      `${shorten(condition)} is ${result === false ? 'false' : `neither true nor false but ${typeof result}`}`,
    );
  } catch (error) {
    return fail(`${shorten(condition)} threw ${reasonOf(error)}`);
  }
}

async function readText({ body }: Response): Promise<string | null> {
  const parts: Uint8Array[] = [];
  let bytes = 0;
  for await (const part of body ?? []) {
    const chunk = part as Uint8Array;
    bytes += chunk.length;
    if (bytes > MAX_BODY_BYTES) return null;
    parts.push(chunk);
  }
  return Buffer.concat(parts).toString('utf8');
}

// Never the body itself: it may hold anything.
function describe({ headers }: Response, text: string): string {
  if (text === '') return 'an empty body';
  return `${text.length} characters of ${headers.get('content-type') ?? 'no content type'}`;
}

function shorten(condition: (body: never) => unknown): string {
  const source = condition
    .toString()
    .replace(/\s+/g, ' ')
    .replace(/ ([),])/g, '$1');
  return `\`${source.length > 80 ? `${source.slice(0, 79)}…` : source}\``;
}
