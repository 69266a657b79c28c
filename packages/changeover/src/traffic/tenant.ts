import type { IncomingMessage } from 'node:http';

import type { TenantKey } from '../plan/plan.ts';

/**
 * Of which slice a request says that it is; null where it says nothing, or more than one thing. Never throws: what is no valid encoding
 * names nobody.
 */
export function tenantOf(request: Pick<IncomingMessage, 'url' | 'headersDistinct'>, key: TenantKey): string | null {
  const url = request.url ?? '';
  if ('header' in key) return only(request.headersDistinct[key.header.toLowerCase()] ?? []);
  const path = url.replace(/^https?:\/\/[^/?#]*/i, '');
  const [before = '', query = ''] = path.split(/\?(.*)/s);
  if ('query' in key) return only(new URLSearchParams(query).getAll(key.query));
  if (!before.startsWith(key.path)) return null;
  return decoded(before.slice(key.path.length).split('/', 1)[0] ?? '');
}

function only(values: readonly string[]): string | null {
  const [value = ''] = values;
  return values.length === 1 && value !== '' ? value : null;
}

function decoded(segment: string): string | null {
  try {
    return segment === '' ? null : decodeURIComponent(segment);
  } catch (error) {
    if (error instanceof URIError) return null;
    throw error;
  }
}
