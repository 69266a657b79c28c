import { buildConnector, Client, Pool, type Dispatcher } from 'undici';

import type { Side } from '../plan/words.ts';

/** Below every server's idle timeout (Node 5 s, gunicorn 2 s), so that it is we who close an idle connection. */
const IDLE_MS = 1_000;
const CONNECT_TIMEOUT_MS = 10_000;
export const MAX_HEAD_BYTES = 64 * 1024;

/** What an exchange needs of a connection or a set of them. */
export type Route = Pick<Dispatcher, 'dispatch'>;

/** The connections to one side. */
export class Upstream {
  /** Kept alive: for requests that may be repeated when the server closes the connection under them. */
  readonly kept: Route;
  /**
   * A connection of its own for each request: for everything else. On a reused connection a write can meet the server's close, and
   * then nobody knows whether it was carried out.
   */
  readonly fresh: Route;
  readonly #pool: Pool;
  readonly #clients = new Set<Client>();

  constructor(origin: string) {
    const options: Client.Options = {
      pipelining: 1,
      allowH2: false,
      keepAliveTimeout: IDLE_MS,
      keepAliveMaxTimeout: IDLE_MS,
      // Slow answers, long uploads and idle event streams are the backend's and the client's business.
      headersTimeout: 0,
      bodyTimeout: 0,
      maxHeaderSize: MAX_HEAD_BYTES,
      connect: buildConnector({ allowH2: false, timeout: CONNECT_TIMEOUT_MS }),
    };
    this.#pool = new Pool(origin, { ...options, connections: null });
    this.kept = this.#pool;
    this.fresh = {
      // Not `Connection: close`: a server that closes at once after an early answer resets the upload, and the answer is lost.
      dispatch: (request, handler) => {
        const client = new Client(origin, options);
        this.#clients.add(client);
        const isWritable = client.dispatch(request, handler);
        client.close(() => this.#clients.delete(client));
        return isWritable;
      },
    };
  }

  async destroy(): Promise<void> {
    await Promise.all([this.#pool, ...this.#clients].map((dispatcher) => dispatcher.destroy()));
  }
}

export function openUpstreams(targets: Readonly<Record<Side, string>>): Readonly<Record<Side, Upstream>> {
  return { legacy: new Upstream(targets.legacy), next: new Upstream(targets.next) };
}
