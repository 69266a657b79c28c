import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';

/** A TCP proxy on a free port of 127.0.0.1 that cuts connections in the middle. */
export interface CuttingProxy {
  readonly port: number;
  /** Each connection from now on ends, both ways, after so many bytes to and from its target; null: never. */
  cutAfter(bytes: number | null): void;
  /** How many connections were cut so far. */
  readonly cuts: number;
  close(): Promise<void>;
}

export async function cuttingProxy(target: { readonly host: string; readonly port: number }): Promise<CuttingProxy> {
  let limit: number | null = null;
  let cuts = 0;
  const sockets = new Set<Socket>();
  const server = createServer((client) => {
    const upstream = connect(target);
    let left = limit ?? Infinity;
    const ends = [client, upstream];
    const cut = () => {
      for (const socket of ends) socket.destroy();
    };
    for (const [from, to] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      sockets.add(from);
      from.on('close', () => {
        sockets.delete(from);
        cut();
      });
      // A side that is cut off resets the other; that is what this is for.
      from.on('error', cut);
      from.on('data', (chunk: Buffer) => {
        to.write(chunk.subarray(0, Math.min(chunk.length, left)));
        left -= chunk.length;
        if (left > 0) return;
        cuts += 1;
        // What was let through has to arrive before the end does.
        to.end(cut);
      });
    }
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    cutAfter: (bytes) => {
      limit = bytes;
    },
    get cuts() {
      return cuts;
    },
    close: async () => {
      const closed = once(server, 'close');
      server.close();
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}
