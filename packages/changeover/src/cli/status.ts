import { setTimeout as sleep } from 'node:timers/promises';
import { renderStatus } from './render/status.ts';
import { SLICE, type Answer, type Call, type Verb } from './verb.ts';

const WATCH_EVERY_MS = 1_000;

export const status: Verb = {
  name: 'status',
  summary: 'who serves, who may write, how far the run is, and what to run next',
  details: 'Reads only, and works while a run goes on in another terminal.',
  options: [SLICE, { flags: '--watch', description: 'show it again every second, until Ctrl-C' }],
  isReading: true,
  examples: [
    { command: 'changeover status', does: 'once' },
    { command: 'changeover status --watch', does: 'as it changes' },
  ],
  async run(call) {
    return call.options['watch'] === true ? watch(call) : answer(call);
  },
};

async function answer({ changeover, screen }: Call): Promise<Answer> {
  const now = await changeover.status();
  return { exitCode: 0, text: renderStatus(screen, now, Date.now()), result: { status: now } };
}

async function watch(call: Call): Promise<Answer> {
  const { changeover, signal } = call;
  while (!signal.aborted) {
    const now = await changeover.status();
    call.show(renderStatus(call.screen, now, Date.now()), { event: 'status', ...now });
    // Ended by Ctrl-C: that is how one leaves, and no failure.
    await sleep(WATCH_EVERY_MS, null, { signal }).catch((error: unknown) => {
      if (!signal.aborted) throw error;
    });
  }
  return answer(call);
}
