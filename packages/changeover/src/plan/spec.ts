import { createHash } from 'node:crypto';
import type { Plan } from './plan.ts';
import type { Json } from './words.ts';

const SECRET_NAME = /pass|secret|token|api_?key|private|credential|auth|cookie|dsn/i;

/** True when a setting of this name is likely to hold a secret; its value is then never shown. */
export function isSecretName(name: string): boolean {
  return SECRET_NAME.test(name);
}

/** Hides the password of every address in a text: `postgres://app:•••@db/app`. */
export function maskAddresses(text: string): string {
  return text.replace(/([a-z][a-z0-9+.-]*:\/\/[^\s:/@]*):[^\s@/]*@/gi, '$1:•••@');
}

/**
 * Any value as JSON, for the spec of a plan's part: functions as their source text, exact integers and bytes as text, a part as its own
 * spec. Two values that behave differently should differ here; what a function closes over cannot be seen.
 *
 * @example
 * ```ts
 * specOf({ expect: (body: { ok: boolean }) => body.ok, after: undefined }); // { expect: '(body) => body.ok' }
 * ```
 */
export function specOf(value: unknown): Json {
  switch (typeof value) {
    case 'boolean':
    case 'string':
      return value;
    case 'number':
      return Number.isFinite(value) ? value : String(value);
    case 'bigint':
    case 'symbol':
      return String(value);
    case 'function':
      return Function.prototype.toString.call(value);
    case 'undefined':
      return null;
    case 'object':
      return value === null ? null : specOfObject(value);
  }
}

function specOfObject(value: object): Json {
  if (Array.isArray(value)) return value.map(specOf);
  if (value instanceof Date) return value.toISOString();
  if (value instanceof RegExp) return String(value);
  if (value instanceof Uint8Array) return Buffer.from(value).toString('base64');
  if (value instanceof Map || value instanceof Set) return [...value].map(specOf);
  if ('spec' in value) return specOf(value.spec);
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, inner]) => inner !== undefined)
      .map(([key, inner]) => [key, specOf(inner)]),
  );
}

/** JSON text with sorted keys and no blanks, so that equal values give equal texts. */
export function canonicalJson(value: Json): string {
  if (value === null || typeof value !== 'object') return JSON.stringify(value);
  if (isList(value)) return `[${value.map(canonicalJson).join(',')}]`;
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${entries.map(([key, inner]) => `${JSON.stringify(key)}:${canonicalJson(inner)}`).join(',')}}`;
}

// Array.isArray does not narrow readonly arrays.
function isList(value: object): value is readonly Json[] {
  return Array.isArray(value);
}

/** The SHA-256 of a value's canonical JSON, in hex. */
export function hashOf(value: Json): string {
  return createHash('sha256').update(canonicalJson(value)).digest('hex');
}

/** A plan as plain JSON: what is frozen in a run and shown when a plan has changed. Secrets of setup commands enter as hashes. */
export function planSpec(plan: Plan): Json {
  const setup = plan.next.setup.map(({ env = {}, ...command }) => ({
    ...command,
    env: Object.fromEntries(
      Object.entries(env).map(([name, value]) => [name, isSecretName(name) ? `sha256:${hashOf(value)}` : value]),
    ),
  }));
  return specOf({
    ...plan,
    throttle: undefined,
    legacy: { units: plan.legacy.units.map(named), writers: plan.legacy.writers.map(named) },
    next: { units: plan.next.units.map(named), setup },
    data: plan.data.map(named),
    checks: plan.checks.map(named),
  });
}

function named(part: { readonly name: string; readonly spec: Json }): Json {
  return { name: part.name, spec: part.spec };
}

/** What identifies a plan: the SHA-256 of its spec, in hex. Layout and comments of the file do not count; source texts of functions do. */
export function planHash(plan: Plan): string {
  return hashOf(planSpec(plan));
}
