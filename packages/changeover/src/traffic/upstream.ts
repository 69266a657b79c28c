import { Pool } from 'undici';

import type { Side } from '../plan/words.ts';

/** Below every server's idle timeout (Node 5 s, gunicorn 2 s), so that it is we who close an idle connection. */
const IDLE_MS = 1_000;
const CONNECT_TIMEOUT_MS = 10_000;
export const MAX_HEAD_BYTES = 64 * 1024;

/** The connections to one side. */
export interface Upstream {
  /** Kept alive: for requests that may be repeated when the server closes the connection under them. */
  readonly kept: Pool;
  /**
   * One request per connection: for everything else. On a reused connection a write can meet the server's close, and then
   * nobody knows whether it was carried out; a new connection is either refused or the server's own.
   */
  readonly fresh: Pool;
}

export function openUpstreams(targets: Readonly<Record<Side, string>>): Readonly<Record<Side, Upstream>> {
  return { legacy: openUpstream(targets.legacy), next: openUpstream(targets.next) };
}

function openUpstream(origin: string): Upstream {
  const options: Pool.Options = {
    pipelining: 1,
    connections: null,
    allowH2: false,
    keepAliveTimeout: IDLE_MS,
    keepAliveMaxTimeout: IDLE_MS,
    // Slow answers, long uploads and idle event streams are the backend's and the client's business.
    headersTimeout: 0,
    bodyTimeout: 0,
    maxHeaderSize: MAX_HEAD_BYTES,
    connect: { timeout: CONNECT_TIMEOUT_MS },
  };
  return { kept: new Pool(origin, options), fresh: new Pool(origin, { ...options, maxRequestsPerClient: 1 }) };
}

export async function closeUpstreams(upstreams: Readonly<Record<Side, Upstream>>): Promise<void> {
  await Promise.all(Object.values(upstreams).flatMap(({ kept, fresh }) => [kept.destroy(), fresh.destroy()]));
}
