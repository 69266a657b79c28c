import type { Activity } from './activity.ts';

/** Runs `work` once a day at a local hour, only while this side is active. Its failures are written to the log. Returns what ends it. */
export function daily(hour: number, activity: Activity, what: string, work: () => Promise<unknown>): () => void {
  let timer: NodeJS.Timeout | undefined;
  let isOver = false;
  const schedule = () => {
    clearTimeout(timer);
    if (isOver || !activity.isActive) return;
    timer = setTimeout(
      () => {
        void activity
          .run(work)
          .catch((error: unknown) => {
            console.error(`${what}:`, error);
          })
          .then(schedule);
      },
      untilHour(hour, new Date()),
    ).unref();
  };
  activity.onChange(schedule);
  schedule();
  return () => {
    isOver = true;
    clearTimeout(timer);
  };
}

/** Milliseconds until the next time the clock shows that hour; never 0. */
export function untilHour(hour: number, now: Date): number {
  const today = new Date(now.getFullYear(), now.getMonth(), now.getDate(), hour).getTime();
  if (today > now.getTime()) return today - now.getTime();
  // Not 24 hours later: the day on which the clock changes is longer or shorter.
  return new Date(now.getFullYear(), now.getMonth(), now.getDate() + 1, hour).getTime() - now.getTime();
}
