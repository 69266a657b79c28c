import { randomBytes } from 'node:crypto';
import { ChangeoverError } from '../errors.ts';
import type { RunStatus } from '../plan/api.ts';
import type { Json, Stage } from '../plan/words.ts';
import { parseJson } from './database.ts';
import type { JournalDatabase, SqlRow } from './database.ts';

/** One execution of a plan. `spec` and `hash` are frozen when it is created. */
export interface Run {
  readonly id: string;
  readonly plan: string;
  readonly hash: string;
  readonly spec: Json;
  readonly configFile: string;
  readonly status: RunStatus;
  readonly startedAtMs: number;
  readonly endedAtMs: number | null;
  /** 0 to 1. */
  readonly progress: number;
  readonly remainingMs: number | null;
  /** Set once it was decided to undo the run; it then never goes forward again. */
  readonly undoing: UndoDecision | null;
}

export interface UndoDecision {
  readonly reason: string;
  /** The step that failed; null when the operator decided. */
  readonly step: string | null;
  /** `failed` by itself after a failed step, `rolled_back` by the operator. */
  readonly endsAs: 'failed' | 'rolled_back';
}

/** A run of which nothing is left to do; the next one may start. */
const ENDED: readonly RunStatus[] = ['failed', 'rolled_back', 'finished'];

/**
 * `started`: the intent is committed and the outcome is not, so nobody knows yet whether the step acted.
 * `undoing` is the same for the way back.
 */
export type StepStatus = 'started' | 'done' | 'failed' | 'undoing' | 'undone' | 'undo_failed';

export interface StepRecord {
  readonly run: string;
  readonly name: string;
  readonly stage: Stage;
  /** 1 for the step that was started first; undo goes from the highest to 1. */
  readonly number: number;
  readonly status: StepStatus;
  /** What undo needs, as it was before the step acted. */
  readonly before: Json;
  readonly attempts: number;
  readonly error: string | null;
  readonly startedAtMs: number;
  readonly endedAtMs: number | null;
}

export interface NewRun {
  readonly plan: string;
  readonly hash: string;
  readonly spec: Json;
  readonly configFile: string;
}

export function createRun(database: JournalDatabase, run: NewRun, nowMs: number): Run {
  const last = currentRun(database);
  if (last !== null && !ENDED.includes(last.status)) {
    throw new ChangeoverError('CHG_ENGINE_RUN_UNFINISHED', { run: last.id, status: last.status });
  }
  const day = new Date(nowMs).toISOString().slice(0, 19).replaceAll(/[-:]/g, '').replace('T', '-');
  const id = `${day}-${randomBytes(3).toString('hex')}`;
  database.run(
    `INSERT INTO runs (id, plan, hash, spec, config_file, status, started_ms, progress) VALUES (?, ?, ?, ?, ?, 'running', ?, 0)`,
    id,
    run.plan,
    run.hash,
    JSON.stringify(run.spec),
    run.configFile,
    nowMs,
  );
  return {
    id,
    ...run,
    status: 'running',
    startedAtMs: nowMs,
    endedAtMs: null,
    progress: 0,
    remainingMs: null,
    undoing: null,
  };
}

export function currentRun(database: JournalDatabase): Run | null {
  const row = database.one('SELECT * FROM runs ORDER BY number DESC LIMIT 1');
  return row === undefined ? null : toRun(database, row);
}

function toRun(database: JournalDatabase, row: SqlRow): Run {
  return {
    id: String(row.id),
    plan: String(row.plan),
    hash: String(row.hash),
    spec: parseJson(database, row.spec),
    configFile: String(row.config_file),
    status: row.status as RunStatus,
    startedAtMs: Number(row.started_ms),
    endedAtMs: numberOrNull(row.ended_ms),
    progress: Number(row.progress),
    remainingMs: numberOrNull(row.remaining_ms),
    undoing:
      row.undo_reason === null
        ? null
        : {
            reason: String(row.undo_reason),
            step: row.undo_step === null ? null : String(row.undo_step),
            endsAs: row.undo_ends_as as UndoDecision['endsAs'],
          },
  };
}

export function setRunStatus(database: JournalDatabase, run: string, status: RunStatus, nowMs: number): void {
  const endedMs = ENDED.includes(status) ? nowMs : null;
  database.run('UPDATE runs SET status = ?, ended_ms = ? WHERE id = ?', status, endedMs, run);
}

export function setProgress(
  database: JournalDatabase,
  run: string,
  fraction: number,
  remainingMs: number | null,
): void {
  database.run('UPDATE runs SET progress = ?, remaining_ms = ? WHERE id = ?', fraction, remainingMs, run);
}

/** The first decision stays: a second failure on the way back does not change why. */
export function decideUndo(database: JournalDatabase, run: string, { reason, step, endsAs }: UndoDecision): void {
  database.run(
    'UPDATE runs SET undo_reason = ?, undo_step = ?, undo_ends_as = ? WHERE id = ? AND undo_reason IS NULL',
    reason,
    step,
    endsAs,
    run,
  );
}

export function stepsOf(database: JournalDatabase, run: string): StepRecord[] {
  return database.all('SELECT * FROM steps WHERE run = ? ORDER BY number', run).map((row) => ({
    run,
    name: String(row.name),
    stage: row.stage as Stage,
    number: Number(row.number),
    status: row.status as StepStatus,
    before: parseJson(database, row.before),
    attempts: Number(row.attempts),
    error: row.error === null ? null : String(row.error),
    startedAtMs: Number(row.started_ms),
    endedAtMs: numberOrNull(row.ended_ms),
  }));
}

export interface StepIntent {
  readonly name: string;
  readonly stage: Stage;
  readonly before: Json;
}

/** A repeated attempt keeps the first `before`: the second one would describe the step's own traces. */
export function intendStep(database: JournalDatabase, run: string, step: StepIntent, nowMs: number): void {
  database.run(
    `INSERT INTO steps (run, name, stage, number, status, before, attempts, started_ms)
     VALUES (?1, ?2, ?3, (SELECT coalesce(max(number), 0) + 1 FROM steps WHERE run = ?1), 'started', ?4, 1, ?5)
     ON CONFLICT (run, name) DO UPDATE SET status = 'started', attempts = attempts + 1, error = NULL, ended_ms = NULL`,
    run,
    step.name,
    step.stage,
    JSON.stringify(step.before),
    nowMs,
  );
}

export function endStep(
  database: JournalDatabase,
  run: string,
  name: string,
  outcome: { readonly status: StepStatus; readonly error: string | null; readonly endedAtMs: number | null },
): void {
  database.run(
    'UPDATE steps SET status = ?, error = coalesce(?, error), ended_ms = ? WHERE run = ? AND name = ?',
    outcome.status,
    outcome.error,
    outcome.endedAtMs,
    run,
    name,
  );
}

function numberOrNull(value: SqlRow[string] | undefined): number | null {
  return value === null ? null : Number(value);
}
