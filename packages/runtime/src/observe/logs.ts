import { pino, type DestinationStream, type Logger } from 'pino';

export type { Logger } from 'pino';

/** Names whose values no log line shows, at any depth up to three. */
const HIDDEN = ['password', 'token', 'secret', 'authorization', 'cookie', 'apiKey'];

/**
 * Lines of JSON, with secrets left out: `Secret` values wherever they are, and the usual names.
 *
 * @param options.level Default `info`.
 * @param options.to Default standard output.
 */
export function createLogger(options: { readonly level?: string; readonly to?: DestinationStream } = {}): Logger {
  const paths = HIDDEN.flatMap((name) => [name, `*.${name}`, `*.*.${name}`]);
  return pino({ level: options.level ?? 'info', redact: { paths, censor: '[secret]' } }, options.to);
}
