import { existsSync } from 'node:fs';
import { open } from 'node:fs/promises';
import {
  float,
  formatPythonLiteral,
  NumpyScalar,
  parsePythonLiteral,
  PyFloat,
  PyTuple,
  type PythonValue,
} from 'changeover/python';

const TAIL_BYTES = 64 * 1024;

export type EventType = 'KNOWN_VISITOR' | 'UNKNOWN_VISITOR' | 'BLACKLIST_ALERT' | 'NO_FACES' | 'CAPTURE_FAILURE';

/** One face of an event: who it was taken for and how far from the nearest known encoding. */
export interface Identity {
  readonly status: 'known' | 'unknown' | 'blacklisted';
  readonly name: string | null;
  /** 1 − distance; 0 for the unknown. */
  readonly confidence: number;
  /** Infinite for the unknown. */
  readonly distance: number;
}

export interface VisitorEvent {
  /** Local naive time. */
  readonly timestamp: string;
  readonly type: EventType;
  readonly faces: readonly Identity[];
  /** Absolute. */
  readonly capturePath: string | null;
}

/** The face of an event as Python holds it: both numbers are floats, also where they are whole. */
export function pythonFace({ status, name, confidence, distance }: Identity) {
  return { status, name, confidence: float(confidence), distance: float(distance) };
}

/** The event's line in `events.log`: the `repr` of a dict, without the line's end. */
export function eventLine(event: VisitorEvent): string {
  return formatPythonLiteral({
    timestamp: event.timestamp,
    event_type: event.type,
    faces: event.faces.map(pythonFace),
    capture_path: event.capturePath,
  });
}

/** Appends one whole line; it is on disk when this resolves. */
export async function appendEvent(file: string, event: VisitorEvent): Promise<void> {
  const handle = await open(file, 'a');
  try {
    await handle.write(`${eventLine(event)}\n`);
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Reads from the end, so that a year of lines costs no more than a day of them. */
export async function lastLines(file: string, count: number): Promise<string[]> {
  if (!existsSync(file)) return [];
  const handle = await open(file, 'r');
  try {
    const { size } = await handle.stat();
    for (let length = TAIL_BYTES; ; length *= 4) {
      const from = Math.max(0, size - length);
      const tail = Buffer.alloc(size - from);
      const { bytesRead } = await handle.read(tail, 0, tail.length, from);
      const lines = tail.toString('utf8', 0, bytesRead).split('\n');
      if (lines.at(-1) === '') lines.pop();
      // The first line of a tail may be half a line.
      if (from === 0 || lines.length > count) return lines.slice(-count);
    }
  } finally {
    await handle.close();
  }
}

/**
 * The last lines as values. The original evaluates each line as Python code and skips what fails: `inf`, `nan` and `np` are
 * undefined names there, so every line of an unknown visitor is missing from its answer, and so it is from this one.
 */
export async function recentEvents(file: string, count: number): Promise<PythonValue[]> {
  return (await lastLines(file, count)).flatMap((line) => {
    const value = parsed(line);
    return value === undefined || !evaluates(value) ? [] : [value];
  });
}

function parsed(line: string): PythonValue | undefined {
  try {
    return parsePythonLiteral(line);
  } catch {
    return undefined; // a broken line, skipped by the original too
  }
}

function evaluates(value: PythonValue): boolean {
  if (value instanceof PyFloat) return Number.isFinite(value.value);
  if (value instanceof NumpyScalar) return false;
  if (value instanceof PyTuple) return (value.items as readonly PythonValue[]).every(evaluates);
  if (Array.isArray(value)) return value.every(evaluates);
  if (value instanceof Map) return [...value].every(([key, item]) => evaluates(key) && evaluates(item));
  return true;
}
