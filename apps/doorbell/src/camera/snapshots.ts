import { setTimeout as sleep } from 'node:timers/promises';

const MAX_SNAPSHOT_BYTES = 16 * 1024 * 1024;
const MS_PER_SECOND = 1000;

/**
 * Asks an address for a picture so many times a second, or as fast as it answers. Credentials in the address are sent as Basic.
 *
 * @throws Error where it answers with an error, or with more than 16 MiB; the reason of `signal`.
 */
export async function* snapshots(address: string, fps: number, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  const { username, password } = new URL(address);
  const bare = address.replace(/\/\/[^/]*@/, '//');
  const credentials = Buffer.from(`${decodeURIComponent(username)}:${decodeURIComponent(password)}`).toString('base64');
  const headers = username === '' ? {} : { authorization: `Basic ${credentials}` };
  for (;;) {
    const startedMs = performance.now();
    const response = await fetch(bare, { headers, signal });
    if (!response.ok || response.body === null) throw new Error(`it answered ${response.status}`);
    const parts: Uint8Array[] = [];
    let size = 0;
    for await (const part of response.body as AsyncIterable<Uint8Array>) {
      size += part.length;
      if (size > MAX_SNAPSHOT_BYTES) throw new Error(`a picture has more than ${MAX_SNAPSHOT_BYTES} bytes`);
      parts.push(part);
    }
    yield Buffer.concat(parts);
    await sleep(Math.max(0, startedMs + MS_PER_SECOND / fps - performance.now()), undefined, { signal });
  }
}
