import { setTimeout as sleep } from 'node:timers/promises';
import { expectThat, type Bench } from './invariants-bench.ts';
import type { Side } from './invariants-watch.ts';
import { expectCounted } from './invariants-gateway.ts';
import type { InvariantCase } from './invariants.ts';

interface Accepted {
  readonly side: Side;
  readonly token: string;
  readonly sentMs: number;
  readonly answeredMs: number;
}

const PROBE_PAUSE_MS = 10;
/** Neither side may accept for longer than the deadline of the hold and the keeper's grace, and what the probes themselves need. */
const MAX_SILENCE_MS = { cutover: 7_000, rollback: 32_000 };

/** Writes to one side's own address, around the gateway, until told to end. Its acknowledgements are promises like any other. */
async function probe(bench: Bench, side: Side, isOver: () => boolean, accepted: Accepted[]): Promise<void> {
  while (!isOver()) {
    const token = bench.newToken();
    const sentMs = performance.now();
    const isAccepted = await bench.create(bench.urlOf(side), token);
    if (isAccepted) accepted.push({ side, token, sentMs, answeredMs: performance.now() });
    await sleep(PROBE_PAUSE_MS);
  }
}

/**
 * In the order of one way (`from` until the switch, then `to`) no probe may be accepted by `from` that was sent after `to` had answered one.
 * Overlapping requests prove nothing and count for nothing.
 */
function bothAccepted(accepted: readonly Accepted[], from: Side, to: Side): number {
  const firstMs = Math.min(...accepted.filter(({ side }) => side === to).map(({ answeredMs }) => answeredMs));
  return accepted.filter(({ side, sentMs }) => side === from && sentMs > firstMs).length;
}

function longestSilenceMs(accepted: readonly Accepted[]): number {
  const sorted = accepted.toSorted((one, other) => one.answeredMs - other.answeredMs);
  return Math.max(0, ...sorted.slice(1).map(({ sentMs }, index) => sentMs - (sorted[index]?.answeredMs ?? sentMs)));
}

/** Health checks that a verb sent through the gateway itself. */
const checksIn = (output: string) => (output.includes('GET /health') ? 1 : 0);

const wholeMove: InvariantCase = {
  name: 'a whole move and back under probes of both sides',
  from: 'ready',
  hasOwnClient: true,
  async play(bench) {
    const silences: number[] = [];
    const promised: string[] = [];
    const ticksBefore = bench.watch.tickBytes();
    const way = async (verb: 'cutover' | 'rollback', from: Side, to: Side): Promise<number> => {
      const accepted: Accepted[] = [];
      let isOver = false;
      const probes = [probe(bench, from, () => isOver, accepted), probe(bench, to, () => isOver, accepted)];
      await sleep(300);
      const { output } = await bench.verb([verb]);
      await sleep(500);
      isOver = true;
      await Promise.all(probes);
      for (const side of [from, to])
        expectThat(
          accepted.some((each) => each.side === side),
          `${verb}: no probe of ${side} was accepted`,
        );
      const both = bothAccepted(accepted, from, to);
      expectThat(both === 0, `${verb}: ${from} accepted ${both} probes after ${to} had`);
      const silenceMs = longestSilenceMs(accepted);
      expectThat(silenceMs < MAX_SILENCE_MS[verb], `${verb}: neither side accepted for ${Math.round(silenceMs)} ms`);
      silences.push(Math.round(silenceMs));
      promised.push(...accepted.map(({ token }) => token));
      return checksIn(output);
    };
    const counted = await expectCounted(bench, async () => {
      const checks = await way('cutover', 'legacy', 'next');
      expectThat(bench.watch.tickBytes() > ticksBefore, 'the new side did not begin to act on its own');
      return checks + (await way('rollback', 'next', 'legacy'));
    });
    const lost: string[] = [];
    for (const token of promised) if ((await bench.ask(bench.url, 'GET', `/notes/${token}`)) !== 200) lost.push(token);
    expectThat(lost.length === 0, `${lost.length} of ${promised.length} accepted probes are lost: ${lost.join(', ')}`);
    bench.expectPythonReads();
    return `${promised.length} probes kept, none accepting for ${silences.join(' and ')} ms, ${counted}`;
  },
};

export const WHOLE_CASES: readonly InvariantCase[] = [wholeMove];
