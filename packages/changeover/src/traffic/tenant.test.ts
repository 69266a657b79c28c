import { expect, it } from 'vitest';
import { tenantOf } from './tenant.ts';

const request = (url: string, headersDistinct: Record<string, string[]> = {}) => ({ url, headersDistinct });

it.each([
  ['a header, in whatever case', request('/', { 'x-network': ['acme'] }), { header: 'X-Network' }, 'acme'],
  ['no header', request('/'), { header: 'X-Network' }, null],
  ['an empty header', request('/', { 'x-network': [''] }), { header: 'X-Network' }, null],
  ['a header twice', request('/', { 'x-network': ['acme', 'other'] }), { header: 'X-Network' }, null],
  ['a parameter', request('/a?b=1&network=ac%20me'), { query: 'network' }, 'ac me'],
  ['a parameter of an absolute target', request('http://h/a?network=acme'), { query: 'network' }, 'acme'],
  ['a parameter twice', request('/?network=a&network=b'), { query: 'network' }, null],
  ['a segment', request('/api/networks/ac%2Fme/streams?x=/api/networks/b'), { path: '/api/networks/' }, 'ac/me'],
  ['a segment at the end', request('/api/networks/acme'), { path: '/api/networks/' }, 'acme'],
  ['another path', request('/api/network/acme'), { path: '/api/networks/' }, null],
  ['an empty segment', request('/api/networks//streams'), { path: '/api/networks/' }, null],
  ['what is no encoding', request('/api/networks/%E0%A4%A/'), { path: '/api/networks/' }, null],
  ['no target at all', request(''), { query: 'network' }, null],
] as const)('%s says of which slice a request is', (_name, given, key, expected) => {
  expect(tenantOf({ ...given, headersDistinct: given.headersDistinct }, key)).toBe(expected);
});
