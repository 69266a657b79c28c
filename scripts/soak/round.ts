import { existsSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { tempFolder, type Child, type TempFolder } from 'changeover/testing';
import { createDataMove } from '../../packages/changeover/src/data/move.ts';
import { targetSide, type Direction, type Side } from '../../packages/changeover/src/plan/words.ts';
import { testContext } from '../../packages/changeover/src/testing/context.ts';
import type { TestDatabase } from '../../packages/changeover/src/testing/databases.ts';
import { COUNTERS, literal, SEATS } from './acts.ts';
import { compareLedgers, compareSides, guestOf, sum, type Differences } from './compare.ts';
import { contentOf } from './content.ts';
import { definitionsOf } from './definitions.ts';
import { engineNamed, type Place, type Server } from './engines.ts';
import { readLedger } from './ledger.ts';
import { endsWithin, problemOf, Runners, WRITERS, Writers } from './processes.ts';
import type { Random } from './random.ts';
import { PREPARED, wantedMark, writeSide, type SoakSettings } from './settings.ts';

/** Crash points that the data passes while it copies and follows, and those of the switch. */
const FOLLOW_POINTS = [
  'data.epoch.installed',
  'data.capture.installing',
  'data.capture.installed',
  'data.fence.committed',
  'data.empty.done',
  'data.copy.before_chunk',
  'data.write.before_commit',
  'data.write.committed',
  'data.copy.after_chunk',
  'data.apply.read',
  'data.apply.written',
  'data.apply.acknowledged',
];
const SWITCH_POINTS = [
  'data.lock.locked',
  'data.lock.applied',
  'data.lock.verified',
  'data.lock.sequences',
  'data.fence.before_commit',
  'data.fence.committed',
  'data.unfence.before_commit',
  'data.unfence.committed',
];
const MAX_PASS = 8;
/** Kills around each switch, before a runner is let through. */
const SWITCH_KILLS = 3;
const SWITCH_KILL_WITHIN_MS = 4_000;
/** A runner that nobody kills may still meet a lock that a writer keeps too long. */
const MAX_ATTEMPTS = 20;
/** What a statement says whose connection was cut under it. */
const LOST = /terminat|ECONNRESET|EPIPE|ECONNREFUSED|Connection lost|closed/i;
const ATTEMPT_MS = 120_000;
const SETTLE_MS = 30_000;
const RECONNECT_MS = 30_000;

export interface RoundResult {
  readonly differences: Differences;
  readonly kills: number;
  readonly acknowledged: number;
  readonly problems: readonly string[];
}

/** One move there and back between two new databases, with writers all the time and something killed all the time. */
export class Round {
  readonly #random: Random;
  readonly #temp: TempFolder;
  readonly #places: Readonly<Record<Side, Place>>;
  readonly #settings: SoakSettings;
  readonly #writers: Writers;
  readonly #runners: Runners;
  readonly #problems: string[] = [];
  readonly #differences: Differences[] = [];
  readonly #say: (line: string) => void;
  #kills = 0;

  private constructor(
    temp: TempFolder,
    places: Readonly<Record<Side, Place>>,
    random: Random,
    say: (line: string) => void,
  ) {
    this.#temp = temp;
    this.#places = places;
    this.#random = random;
    this.#say = say;
    const { legacy, next } = places;
    this.#settings = {
      folder: temp.path,
      legacy: { engine: legacy.engine.name, address: legacy.address },
      next: { engine: next.engine.name, address: next.address },
    };
    this.#writers = new Writers(this.#settings, random);
    this.#runners = new Runners(this.#settings);
  }

  /** Plays for about `ms`; the way there and the way back take half of it each. Everything that was started is gone afterwards. */
  static async play(
    [legacy, next]: readonly [string, string],
    random: Random,
    ms: number,
    say: (line: string) => void,
  ): Promise<RoundResult> {
    await using temp = await tempFolder('changeover-soak-');
    const places: Place[] = [];
    try {
      const from = await engineNamed(legacy).create(temp.path, 'legacy');
      places.push(from);
      const to = await engineNamed(next).create(temp.path, 'next');
      places.push(to);
      return await new Round(temp, { legacy: from, next: to }, random, say).#play(ms);
    } finally {
      for (const place of places) await place.stop();
    }
  }

  async #play(ms: number): Promise<RoundResult> {
    await this.#seed();
    writeSide(this.#temp.path, 'legacy');
    await this.#writers.start();
    try {
      await this.#phase('forward', ms / 2);
      await this.#phase('reverse', ms / 2);
      await sleep(500);
      this.#problems.push(...(await this.#writers.stop()));
      await this.#settle();
      return {
        differences: sum(this.#differences),
        kills: this.#kills,
        acknowledged: this.#ledgers().reduce((total, { acknowledged }) => total + acknowledged, 0),
        problems: this.#problems,
      };
    } finally {
      await this.#writers.stop('SIGKILL');
    }
  }

  async #seed(): Promise<void> {
    await using db = await this.#connect('legacy');
    for (let writer = 0; writer < WRITERS; writer++) await db.exec(`INSERT INTO heads VALUES (${writer}, 0)`);
    for (let id = 1; id <= COUNTERS; id++) await db.exec(`INSERT INTO counters VALUES (${id}, 0)`);
    for (let id = 1; id <= SEATS; id++) await db.exec(`INSERT INTO seats VALUES (${id}, ${literal(guestOf(id))})`);
  }

  async #phase(direction: Direction, ms: number): Promise<void> {
    const until = performance.now() + ms;
    while (performance.now() < until) await this.#trouble(direction);
    writeFileSync(path.join(this.#temp.path, wantedMark(direction)), '');
    for (let kills = 0; kills < SWITCH_KILLS; kills++) await this.#killAtPoint(direction, SWITCH_POINTS);
    for (const { side, server } of this.#servers())
      await this.#whileFollowing(direction, `the server of ${side} at the switch`, () => server.kill());
    await this.#getThrough(direction);
    // The old side is closed and nobody has been sent to the new one yet: the two have to be one.
    await this.#compare(`after the switch ${direction}`, targetSide(direction));
    writeSide(this.#temp.path, targetSide(direction));
  }

  /** One runner, and something that is killed while it runs. */
  async #trouble(direction: Direction): Promise<void> {
    const kinds = [
      () => this.#killAtPoint(direction, FOLLOW_POINTS),
      () => this.#killAtPoint(direction, FOLLOW_POINTS),
      () => this.#killAnywhere(direction),
      () => this.#stopAndSucceed(direction),
      () => this.#whileFollowing(direction, 'a writer', () => this.#writers.killOne()),
      ...this.#servers().flatMap(({ side, server }) => [
        () => this.#whileFollowing(direction, `the server of ${side}`, () => server.kill()),
        () => this.#whileFollowing(direction, `a connection of ${side}`, () => this.#killConnection(side, server)),
      ]),
    ];
    await this.#random.pick(kinds)();
  }

  async #killAtPoint(direction: Direction, points: readonly string[]): Promise<void> {
    const point = this.#random.pick(points);
    const runner = this.#runners.start(direction, { point, pass: this.#random.between(1, MAX_PASS) });
    if (!(await endsWithin(runner, this.#random.between(1_000, SWITCH_KILL_WITHIN_MS)))) await runner.kill('SIGKILL');
    await this.#killed(runner, `a runner at ${point} or later`);
  }

  async #killAnywhere(direction: Direction): Promise<void> {
    const runner = this.#runners.start(direction);
    if (!(await endsWithin(runner, this.#random.between(100, 2_000)))) await runner.kill('SIGKILL');
    await this.#killed(runner, 'a runner anywhere');
  }

  /** A runner stands still, another takes its place, and the first one wakes up as if nothing had happened. */
  async #stopAndSucceed(direction: Direction): Promise<void> {
    const stopped = this.#runners.start(direction);
    if (await endsWithin(stopped, this.#random.between(300, 1_500))) return this.#note(stopped);
    await stopped.kill('SIGSTOP');
    const heir = this.#runners.start(direction);
    await endsWithin(heir, this.#random.between(500, 1_500));
    await stopped.kill('SIGCONT');
    await endsWithin(stopped, this.#random.between(100, 500));
    await stopped.kill('SIGKILL');
    await this.#note(stopped);
    await heir.kill('SIGKILL');
    await this.#killed(heir, 'a runner that stood still, and its heir');
  }

  async #whileFollowing(direction: Direction, what: string, kill: () => Promise<void>): Promise<void> {
    const runner = this.#runners.start(direction);
    await endsWithin(runner, this.#random.between(300, 1_200));
    await kill();
    await endsWithin(runner, this.#random.between(200, 800));
    await runner.kill('SIGKILL');
    await this.#killed(runner, what);
  }

  #servers(): { side: Side; server: Server }[] {
    return (['legacy', 'next'] as const).flatMap((side) => {
      const { server } = this.#places[side];
      return server === null ? [] : [{ side, server }];
    });
  }

  async #killConnection(side: Side, server: Server): Promise<void> {
    await using db = await this.#connect(side);
    await server.killConnection(db, (ids) => this.#random.pick(ids));
  }

  async #killed(runner: Child, what: string): Promise<void> {
    this.#kills += 1;
    await this.#note(runner);
    await this.#neverBothWritable(what);
  }

  async #note(runner: Child): Promise<void> {
    const problem = await problemOf(runner);
    if (problem !== null) this.#problems.push(problem);
  }

  async #neverBothWritable(after: string): Promise<void> {
    if (!existsSync(path.join(this.#temp.path, PREPARED))) return;
    const writable: Side[] = [];
    for (const side of ['legacy', 'next'] as const) if (await this.#isWritable(side)) writable.push(side);
    if (writable.length === 2) this.#problems.push(`both sides were writable after the kill of ${after}`);
  }

  async #isWritable(side: Side): Promise<boolean> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#takesWrites(side);
      } catch (error) {
        // A server that has just come back may cut whoever came early; that says nothing about who may write.
        if (attempt === MAX_ATTEMPTS || !LOST.test(String(error))) throw error;
      }
    }
  }

  async #takesWrites(side: Side): Promise<boolean> {
    await using db = await this.#connect(side);
    const { begin } = this.#places[side].engine;
    await db.exec(begin);
    try {
      await db.exec('INSERT INTO scratch (id) VALUES (-1)');
    } catch (error) {
      if (!/does not accept writes/.test(String(error))) throw error;
      await db.exec('ROLLBACK');
      return false;
    }
    await db.exec('ROLLBACK');
    return true;
  }

  /** Runners until one comes to its end. */
  async #getThrough(direction: Direction): Promise<void> {
    for (let attempt = 1; attempt <= MAX_ATTEMPTS; attempt++) {
      const runner = this.#runners.start(direction);
      if (!(await endsWithin(runner, ATTEMPT_MS))) {
        await runner.kill('SIGKILL');
        this.#problems.push(`a runner did not come to its end in ${ATTEMPT_MS} ms:\n${runner.output().slice(-2000)}`);
      }
      await this.#note(runner);
      if ((await runner.exited).code === 0) return;
    }
    throw new Error(`no runner got through the switch ${direction}:\n${this.#problems.join('\n')}`);
  }

  /** Writers have ended: what they wrote last is applied to the new side once more, and everything is compared. */
  async #settle(): Promise<void> {
    const data = createDataMove(definitionsOf(this.#settings));
    const ctx = testContext(this.#temp.path, { epoch: this.#runners.nextEpoch, liveSide: 'legacy' });
    try {
      await data.installEpoch(ctx);
      const until = performance.now() + SETTLE_MS;
      while ((await data.catchUp(ctx, 'forward')).pending > 0)
        if (performance.now() > until) throw new Error(`changes were still pending after ${SETTLE_MS} ms`);
      const failed = (await data.verify(ctx, 'forward', 'full')).filter(({ outcome }) => outcome === 'FAIL');
      this.#problems.push(...failed.map(({ check, evidence }) => `verification: ${check}: ${evidence}`));
    } finally {
      await data.close();
    }
    await this.#compare('at the end', 'legacy');
  }

  async #compare(when: string, serving: Side): Promise<void> {
    await using here = await this.#connect(serving);
    await using there = await this.#connect(serving === 'legacy' ? 'next' : 'legacy');
    const content = await contentOf(here, this.#places[serving].engine);
    const other = await contentOf(there, this.#places[serving === 'legacy' ? 'next' : 'legacy'].engine);
    const found = [compareSides(content, other), compareLedgers(this.#ledgers(), content)];
    this.#differences.push(...found);
    const rows = Object.values(content).reduce((total, table) => total + table.size, 0);
    const { lost, duplicated, different, examples } = sum(found);
    this.#say(
      `${when}: ${rows} rows, lost ${lost}, duplicated ${duplicated}, different ${different}, kills so far ${this.#kills}`,
    );
    for (const example of examples) this.#say(`  ${example}`);
  }

  #ledgers() {
    return Array.from({ length: WRITERS }, (_, writer) => readLedger(this.#writers.ledger(writer)));
  }

  /** A server that was killed a moment ago needs some time. */
  async #connect(side: Side): Promise<TestDatabase> {
    const { engine, address } = this.#places[side];
    const until = performance.now() + RECONNECT_MS;
    for (;;) {
      try {
        const db = await engine.connect(address);
        await db.all('SELECT 1 AS one');
        return db;
      } catch (error) {
        if (performance.now() > until) throw error;
        await sleep(50);
      }
    }
  }
}
