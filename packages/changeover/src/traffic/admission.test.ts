import fc from 'fast-check';
import { setImmediate as turn, setTimeout as sleep } from 'node:timers/promises';
import { expect, it } from 'vitest';

import type { Hold } from '../plan/authority.ts';
import type { Side } from '../plan/words.ts';
import { Admission, type Admissible } from './admission.ts';
import { emptyLedger, openRequests, type Ledger, type RequestOutcome } from './ledger.ts';

const LIMITS = { maxHeldRequests: 20, maxHeldBytes: 1_000, maxHeldMs: 60_000 };

/** A request that keeps to the counts as a real one does. */
class FakeRequest implements Admissible {
  readonly writes: boolean;
  readonly heldBytes = 10;
  side: Side | null = null;
  outcome: RequestOutcome | null = null;
  readonly #ledger: Ledger;
  readonly #log: FakeRequest[];

  constructor(ledger: Ledger, log: FakeRequest[], writes: boolean) {
    this.#ledger = ledger;
    this.#log = log;
    this.writes = writes;
    ledger.accepted += 1;
  }

  proceed(side: Side): void {
    expect(this.side).toBeNull();
    this.side = side;
    this.#log.push(this);
  }

  refuse(): void {
    this.end('refused');
  }

  end(outcome: RequestOutcome): void {
    expect(this.outcome).toBeNull();
    this.outcome = outcome;
    this.#ledger[outcome] += 1;
    if (this.side !== null) this.#ledger.inFlight[this.side] -= 1;
  }
}

interface Model {
  readonly ledger: Ledger;
  readonly admission: Admission;
  readonly requests: FakeRequest[];
  readonly proceeded: FakeRequest[];
}

function model(limits = LIMITS): Model {
  const ledger = emptyLedger();
  return { ledger, admission: new Admission(ledger, limits), requests: [], proceeded: [] };
}

function arrive({ ledger, admission, requests, proceeded }: Model, writes: boolean): FakeRequest {
  const request = new FakeRequest(ledger, proceeded, writes);
  requests.push(request);
  admission.admit(request);
  return request;
}

type Action =
  | { readonly kind: 'arrive'; readonly writes: boolean }
  | { readonly kind: 'follow'; readonly side: Side; readonly hold: Hold }
  | { readonly kind: 'end' | 'leave'; readonly index: number; readonly outcome: RequestOutcome }
  | { readonly kind: 'turn' | 'tick' | 'unreadable' };

const action: fc.Arbitrary<Action> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('arrive' as const), writes: fc.boolean() }) },
  fc.record({
    kind: fc.constant('follow' as const),
    side: fc.constantFrom<Side>('legacy', 'next'),
    hold: fc.constantFrom<Hold>('none', 'writes', 'all'),
  }),
  fc.record({
    kind: fc.constantFrom('end' as const, 'leave' as const),
    index: fc.nat(50),
    outcome: fc.constantFrom<RequestOutcome>('completed', 'failed', 'clientAborted'),
  }),
  fc.record({ kind: fc.constantFrom('turn' as const, 'tick' as const, 'unreadable' as const) }),
);

it('whatever happens in whatever order: each request has one end, the counts add up, and nothing passes a hold', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(action, { maxLength: 80 }), async (actions) => {
      const m = model();
      let hold: Hold = 'all';
      let side: Side = 'legacy';
      for (const step of actions) {
        const from = m.proceeded.length;
        switch (step.kind) {
          case 'arrive':
            arrive(m, step.writes);
            break;
          case 'follow':
            ({ hold, side } = step);
            m.admission.follow(side, hold);
            break;
          case 'unreadable':
            hold = 'all';
            m.admission.holdAll();
            break;
          case 'end': {
            const running = m.requests.filter((one) => one.side !== null && one.outcome === null);
            running[step.index % Math.max(1, running.length)]?.end(step.outcome);
            break;
          }
          case 'leave': {
            const parked = m.requests.filter((one) => one.side === null && one.outcome === null);
            const leaver = parked[step.index % Math.max(1, parked.length)];
            if (leaver !== undefined) {
              m.admission.leave(leaver);
              leaver.end('clientAborted');
            }
            break;
          }
          case 'turn':
            await turn();
            break;
          case 'tick':
            m.admission.tick();
            break;
        }
        for (const passed of m.proceeded.slice(from)) {
          expect(passed.side).toBe(side);
          expect(hold === 'none' || (hold === 'writes' && !passed.writes)).toBe(true);
        }
        const parked = m.requests.filter((one) => one.side === null && one.outcome === null);
        expect(m.ledger.held).toBe(parked.length);
        expect(m.ledger.held).toBeLessThanOrEqual(LIMITS.maxHeldRequests);
        expect(openRequests(m.ledger)).toBe(m.ledger.held + m.ledger.inFlight.legacy + m.ledger.inFlight.next);
      }
      m.admission.follow('next', 'none');
      for (let left = 40; m.ledger.held > 0 && left > 0; left -= 1) await turn();
      expect(m.ledger.held).toBe(0);
    }),
    { numRuns: 300 },
  );
});

it('requests that were parked go on in their order, and newcomers stay behind them', async () => {
  const m = model();
  const parked = Array.from({ length: 19 }, () => arrive(m, true));
  m.admission.follow('next', 'none');
  const late = arrive(m, true);
  expect(m.proceeded).toEqual([]);
  while (m.ledger.held > 0) await turn();
  expect(m.proceeded).toEqual([...parked, late]);
});

it('a newcomer is refused for want of room only while it would be held', () => {
  const m = model();
  for (let count = 0; count < 20; count += 1) arrive(m, true);
  expect(arrive(m, true).outcome).toBe('refused');
  m.admission.follow('next', 'none');
  expect(arrive(m, true)).toMatchObject({ side: 'next', outcome: null });
});

it('a release is paced: a few at a time, fewer still while the new side has many in flight', async () => {
  const m = model({ ...LIMITS, maxHeldRequests: 1_000, maxHeldBytes: 1e6 });
  for (let count = 0; count < 500; count += 1) arrive(m, true);
  m.admission.follow('next', 'none');
  await turn();
  expect(m.proceeded.length).toBeLessThanOrEqual(16);
  await sleep(50);
  // Nobody answers, so only the ticks let more go.
  const before = m.proceeded.length;
  expect(before).toBeLessThan(150);
  m.admission.tick();
  expect(m.proceeded.length - before).toBeGreaterThan(0);
});

it('a hold that comes back stops a release in the middle', async () => {
  const m = model();
  for (let count = 0; count < 20; count += 1) arrive(m, true);
  m.admission.follow('next', 'none');
  await turn();
  const passed = m.proceeded.length;
  expect(passed).toBeGreaterThan(0);
  m.admission.follow('next', 'all');
  for (let count = 0; count < 10; count += 1) await turn();
  m.admission.tick();
  expect(m.proceeded.length).toBe(passed);
});
