import { Agent, request } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { cpuMs } from './process.ts';
import type { Side } from './sides.ts';

/** How exact the time is at which an event or a message is seen. */
const POLL_MS = 2;
/** The legacy tells nobody which press it takes: without an event for so long it works on none. */
const SILENCE_MS = 2500;
const DRAIN_TIMEOUT_MS = 120_000;

export interface Run {
  readonly pressed: number;
  /** Presses that were answered with 200: by the legacy also those that it drops. */
  readonly answered: number;
  readonly stored: number;
  readonly cpuMs: number;
  readonly toStoredMs: readonly number[];
  readonly toMessageMs: readonly number[];
}

/** Presses so many times a second for a while, waits until all that was accepted is stored and sent, and holds each event against its press. */
export async function press(
  side: Side,
  rate: number,
  seconds: number,
  messages: readonly number[] | null,
): Promise<Run> {
  const agent = new Agent({ keepAlive: true });
  const count = rate * seconds;
  const before = { cpu: cpuMs(side.pid), stored: side.stored(), messages: messages?.length ?? 0 };
  const sentAt: number[] = [];
  const seenAt: number[] = [];
  const look = () => {
    for (let more = side.stored() - before.stored - seenAt.length; more > 0; more--) seenAt.push(performance.now());
  };
  const timer = setInterval(look, POLL_MS);
  try {
    const answers: Promise<number>[] = [];
    const startMs = performance.now();
    for (let number = 0; number < count; number++) {
      await sleep(Math.max(0, startMs + (number * 1000) / rate - performance.now()));
      sentAt.push(performance.now());
      answers.push(post(`${side.url}/api/trigger-doorbell`, agent));
    }
    const answered = (await Promise.all(answers)).filter((status) => status === 200).length;
    const isOver = () =>
      side.name === 'legacy'
        ? performance.now() - Math.max(sentAt.at(-1) ?? 0, seenAt.at(-1) ?? 0) > SILENCE_MS
        : seenAt.length >= answered && (messages?.length ?? answered) - before.messages >= answered;
    const untilMs = performance.now() + DRAIN_TIMEOUT_MS;
    while (!isOver() && performance.now() < untilMs) await sleep(POLL_MS);
    const cpu = cpuMs(side.pid) - before.cpu;
    const taken = side.name === 'legacy' ? takenByLegacy(sentAt, seenAt) : sentAt;
    // An event whose press cannot be told says nothing about its time.
    const since = (times: readonly number[]) =>
      times.map((at, index) => at - (taken[index] ?? Number.NaN)).filter((tookMs) => Number.isFinite(tookMs));
    return {
      pressed: count,
      answered,
      stored: seenAt.length,
      cpuMs: cpu,
      toStoredMs: since(seenAt),
      toMessageMs: since(messages?.slice(before.messages) ?? []),
    };
  } finally {
    clearInterval(timer);
    agent.destroy();
  }
}

/** It works on one press at a time, so the press of an event is the first one after the event before it. */
function takenByLegacy(sentAt: readonly number[], seenAt: readonly number[]): number[] {
  return seenAt.map((_, index) => {
    const freeAt = seenAt[index - 1] ?? -Infinity;
    return sentAt.find((at) => at >= freeAt) ?? Number.NaN;
  });
}

function post(url: string, agent: Agent): Promise<number> {
  return new Promise((resolve, reject) => {
    request(url, { method: 'POST', agent }, (response) => {
      response.resume().once('end', () => {
        resolve(response.statusCode ?? 0);
      });
    })
      .once('error', reject)
      .end();
  });
}
