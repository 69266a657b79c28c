import type { Changeover, DecisionBrief, RunStatus, Verdict } from '../changeover.ts';
import { renderLeft } from './render/error.ts';
import type { Screen } from './render/text.ts';

/** 0 done, 1 failed or nothing was changed, 2 the plan or the command is wrong, 3 paused and waiting for the operator. */
export type ExitCode = 0 | 1 | 2 | 3;

/** What a verb is given: its words, and what it may drive. */
export interface Call {
  readonly changeover: Changeover;
  readonly args: readonly string[];
  readonly options: Readonly<Record<string, unknown>>;
  readonly screen: Screen;
  readonly cwd: string;
  /** Aborted by Ctrl-C; the work then stops so that it can go on later. */
  readonly signal: AbortSignal;
  /** Shows what the decision means and asks; with `--yes` it only shows. */
  ask(decision: DecisionBrief['decision']): Promise<boolean>;
  /** False for a verdict that is on the screen already, because it was told while the verb ran. */
  readonly isNew: (verdict: Verdict) => boolean;
  say(text: string, data?: { readonly event: string }): void;
  show(text: string, data: { readonly event: string }): void;
}

/** What a verb has to say at its end: for people, and as the fields of the last JSON line. */
export interface Answer {
  readonly exitCode: ExitCode;
  readonly text: string;
  readonly result: object;
}

export interface Verb {
  readonly name: string;
  /** One line for the list of verbs. */
  readonly summary: string;
  /** Shown by `--help` below the summary. */
  readonly details: string;
  readonly argument?: { readonly name: string; readonly description: string; readonly choices?: readonly string[] };
  readonly options?: readonly {
    readonly flags: string;
    readonly description: string;
    readonly choices?: readonly string[];
  }[];
  /** Nothing goes on after Ctrl-C: there is nothing to resume. */
  readonly isReading?: true;
  readonly examples: readonly { readonly command: string; readonly does: string }[];
  run(call: Call): Promise<Answer>;
}

/** Of every verb that may be about one slice of a plan. */
export const SLICE = {
  flags: '--slice <name>',
  description: 'one slice of a plan that moves tenant by tenant; without it, what belongs to none',
} as const;

/** The command line itself is wrong; told as CHG_CLI_USAGE. */
export class UsageError extends Error {
  readonly verb: string | null;

  constructor(problem: string, verb: string | null) {
    super(problem);
    this.verb = verb;
  }
}

export const DECLINED: Answer = { exitCode: 1, text: 'Nothing was changed.', result: { declined: true } };

/** How a run's end is told to a shell. */
export function exitCodeOf(status: RunStatus): ExitCode {
  switch (status) {
    case 'ready':
    case 'live':
    case 'finished':
      return 0;
    case 'failed':
    case 'rolled_back':
      return 1;
    case 'running':
    case 'paused':
      return 3;
  }
}

/** The verdicts to show at the end: what did not pass and is not on the screen yet. */
export function untold({ isNew }: Call, verdicts: readonly Verdict[]): Verdict[] {
  return verdicts.filter((verdict) => verdict.outcome !== 'PASS' && isNew(verdict));
}

/** The last two lines after anything was changed: how it stands now, and the next command. */
export async function standing({ changeover, screen }: Call): Promise<string[]> {
  const status = await changeover.status();
  return [screen.style.dim(renderLeft(status)), `${screen.style.accent('→')} ${status.nextCommand}`];
}
