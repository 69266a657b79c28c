/** Rules for names of people and of the files that are named after them. */

const MAX_NAME_LENGTH = 64;

/** What is kept of a typed name: `Zoë` becomes `Zo`, `Mary-Jane O'Neil` becomes `Mary-Jane ONeil`. May be empty. */
export function sanitiseName(text: string): string {
  return text
    .replace(/\s+/g, ' ')
    .replace(/[^a-zA-Z0-9 _-]/g, '')
    .replace(/ +/g, ' ')
    .trim()
    .slice(0, MAX_NAME_LENGTH)
    .trim();
}

/** The name inside file names: `Mary-Jane ONeil` becomes `mary-jane_oneil`. Several names may share one. */
export function slugOf(name: string): string {
  return name
    .toLowerCase()
    .replace(/\s+/g, '_')
    .replace(/[^a-z0-9_-]/g, '');
}

/** `YYYYMMDD_HHMMSS` in local time, as in file names. */
export function stampOf(date: Date): string {
  const [day, time] = localIso(date).slice(0, 19).split('T');
  return `${(day ?? '').replaceAll('-', '')}_${(time ?? '').replaceAll(':', '')}`;
}

/** Local time without a zone and with six digits of the second's fraction, absent where exactly zero: `2026-11-21T08:13:34.497533`. */
export function localIso(date: Date, extraMicroseconds = 0): string {
  const two = (value: number) => String(value).padStart(2, '0');
  const micros = date.getMilliseconds() * 1000 + extraMicroseconds;
  return (
    `${String(date.getFullYear()).padStart(4, '0')}-${two(date.getMonth() + 1)}-${two(date.getDate())}` +
    `T${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}` +
    (micros === 0 ? '' : `.${String(micros).padStart(6, '0')}`)
  );
}

/** True for a plain file name: what a client sends as one never leaves the folder it is meant for. */
export function isFileName(text: string): boolean {
  return text !== '' && !text.startsWith('.') && !/[/\\\0]/.test(text) && Buffer.byteLength(text) <= 255;
}
