import type { ColumnForm } from '../../plan/sync.ts';
import type { Value } from '../../plan/stores.ts';
import { storageClass, Unfit, type RawCodec } from './codec.ts';

/**
 * Times that the legacy keeps as numbers or texts, as points in time of the target: `YYYY-MM-DD HH:MM:SS[.ffffff]+00`, with up to six digits of
 * a fraction and none trailing, which is what Postgres gives back in UTC.
 */

const MICROSECONDS = 1_000_000n;
const DAY_S = 86_400n;
/** Years 0001 to 9999: what every engine and every form can write with four digits. */
const FIRST_S = BigInt(Date.UTC(2000, 0, 1) / 1000) - 730_119n * DAY_S;
const LAST_S = BigInt(Date.UTC(9999, 11, 31, 23, 59, 59) / 1000);

export function times({ from, zone }: ColumnForm): RawCodec | null {
  switch (from) {
    case 'unix-seconds':
      return unix(1);
    case 'unix-milliseconds':
      return unix(1000);
    case 'js-text':
      return written('T', 'UTC', (micros) => `.${String(micros / 1000n).padStart(3, '0')}Z`);
    case 'python-text':
      return zone === undefined ? null : written('T', zone, (micros) => (micros === 0n ? '' : `.${sixDigits(micros)}`));
    case 'sql-text':
      return zone === undefined ? null : written(' ', zone, fractionOf);
    default:
      return null;
  }
}

function unix(perSecond: 1 | 1000): RawCodec {
  const unit = MICROSECONDS / BigInt(perSecond);
  return {
    to: (value) => {
      if (typeof value === 'bigint') return instant(value * unit);
      if (typeof value !== 'number') throw new Unfit(`it is stored as ${storageClass(value)}, not as a number`);
      if (!Number.isFinite(value)) throw new Unfit('it is not a point in time');
      return instant(Number.isInteger(value) ? BigInt(value) * unit : BigInt(Math.round(value * Number(unit))));
    },
    back: (value) => {
      const micros = microsOf(value);
      return micros % unit === 0n ? Number(micros / unit) : Number(micros) / Number(unit);
    },
  };
}

/** Local times as text; the time zone says which point in time they are, unless a clock that was set back or forward makes it two or none. */
function written(separator: ' ' | 'T', zone: string, fraction: (micros: bigint) => string): RawCodec {
  return {
    to: (value) => {
      const match = /^(\d{4})-(\d\d)-(\d\d)[ T](\d\d):(\d\d):(\d\d)(?:\.(\d{1,6}))?Z?$/.exec(
        typeof value === 'string' ? value : '',
      );
      if (match === null) throw new Unfit('it is not a time of this form');
      const [, year, month, day, hour, minute, second, digits = ''] = match;
      const text = `${year}-${month}-${day}T${hour}:${minute}:${second}Z`;
      const localMs = Date.parse(text);
      // 30 February would be the first of March, and hour 24 the next day.
      if (Number.isNaN(localMs) || !new Date(localMs).toISOString().startsWith(text.slice(0, -1)))
        throw new Unfit('there is no such time');
      const utcMs = utcOf(localMs, zone);
      return instant(BigInt(utcMs) * 1000n + BigInt(digits.padEnd(6, '0')));
    },
    back: (value) => {
      const micros = microsOf(value);
      const part = modulo(micros, MICROSECONDS);
      const utcMs = Number((micros - part) / 1000n);
      const local = new Date(utcMs + offsetMs(utcMs, zone)).toISOString().slice(0, 19).replace('T', separator);
      return `${local}${fraction(part)}`;
    },
  };
}

/** The one point in time that a clock of `zone` shows as this local time. */
function utcOf(localMs: number, zone: string): number {
  if (zone === 'UTC') return localMs;
  const dayMs = Number(DAY_S) * 1000;
  const offsets = new Set([offsetMs(localMs - dayMs, zone), offsetMs(localMs + dayMs, zone)]);
  const found = [...offsets]
    .map((offset) => localMs - offset)
    .filter((utcMs) => utcMs + offsetMs(utcMs, zone) === localMs);
  const [utcMs] = found;
  if (utcMs === undefined) throw new Unfit(`clocks of ${zone} never showed this time`);
  if (found.length > 1) throw new Unfit(`clocks of ${zone} showed this time twice`);
  return utcMs;
}

const formats = new Map<string, Intl.DateTimeFormat>();

/** How far the clocks of `zone` are ahead of UTC. */
function offsetMs(utcMs: number, zone: string): number {
  if (zone === 'UTC') return 0;
  let format = formats.get(zone);
  if (format === undefined) {
    const numeric = { year: 'numeric', month: '2-digit', day: '2-digit', hour: '2-digit', minute: '2-digit' } as const;
    format = new Intl.DateTimeFormat('en-US', {
      timeZone: zone,
      hourCycle: 'h23',
      era: 'short',
      second: '2-digit',
      ...numeric,
    });
    formats.set(zone, format);
  }
  const parts = Object.fromEntries(format.formatToParts(utcMs).map(({ type, value }) => [type, value]));
  const at = (name: string) => Number(parts[name]);
  const local = new Date(0);
  local.setUTCFullYear(parts['era'] === 'BC' ? 1 - at('year') : at('year'), at('month') - 1, at('day'));
  local.setUTCHours(at('hour'), at('minute'), at('second'));
  return local.getTime() - Math.floor(utcMs / 1000) * 1000;
}

/** A point in time as the text that Postgres gives back for it. */
function instant(micros: bigint): string {
  const part = modulo(micros, MICROSECONDS);
  const seconds = (micros - part) / MICROSECONDS;
  if (seconds < FIRST_S || seconds > LAST_S) throw new Unfit('it lies outside of the years 1 to 9999');
  const text = new Date(Number(seconds) * 1000).toISOString().slice(0, 19).replace('T', ' ');
  return `${text}${fractionOf(part)}+00`;
}

function microsOf(value: Value): bigint {
  const match = /^(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d)(?:\.(\d{1,6}))?\+00$/.exec(String(value));
  if (match === null) throw new Unfit('it lies outside of the years 1 to 9999');
  const [, day, time, digits = ''] = match;
  return BigInt(Date.parse(`${day}T${time}Z`)) * 1000n + BigInt(digits.padEnd(6, '0'));
}

function fractionOf(micros: bigint): string {
  return micros === 0n ? '' : `.${sixDigits(micros).replace(/0+$/, '')}`;
}

function sixDigits(micros: bigint): string {
  return String(micros).padStart(6, '0');
}

function modulo(value: bigint, divisor: bigint): bigint {
  return ((value % divisor) + divisor) % divisor;
}
