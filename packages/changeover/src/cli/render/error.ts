import type { Status } from '../../changeover.ts';
import { clean, cleanLine, type Screen } from './text.ts';

/** A failure as the command line shows it: with `--json` as it is, else as one block. */
export interface Failure {
  readonly code: string;
  readonly message: string;
  readonly hint: string;
  readonly exitCode: number;
  /** What led to it, the nearest first. */
  readonly causes: readonly string[];
}

/** The parts of an error that came from the catalogue, whichever copy of this package threw it; a stranger is told as such. */
export function failureOf(error: unknown): Failure {
  const causes = causesOf(error);
  if (isFromCatalogue(error)) {
    const { code, message, hint, exitCode } = error;
    return { code, message: clean(message), hint: clean(hint), exitCode, causes };
  }
  const message = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  return {
    code: 'CHG_CLI_UNEXPECTED',
    message: `unexpected: ${clean(message)}`,
    hint: 'Run `changeover status` to see how far it came; CHANGEOVER_DEBUG=1 shows where it happened.',
    exitCode: 1,
    causes,
  };
}

interface FromCatalogue {
  readonly code: string;
  readonly message: string;
  readonly hint: string;
  readonly exitCode: number;
}

function isFromCatalogue(error: unknown): error is FromCatalogue {
  return (
    error instanceof Error &&
    error.name === 'ChangeoverError' &&
    'hint' in error &&
    'exitCode' in error &&
    'code' in error
  );
}

const MAX_CAUSES = 8;

function causesOf(error: unknown): string[] {
  const found: string[] = [];
  const visit = (cause: unknown) => {
    if (cause === undefined || cause === null || found.length >= MAX_CAUSES) return;
    const text = cleanLine(cause instanceof Error ? cause.message : JSON.stringify(cause));
    if (text !== '') found.push(text);
    if (cause instanceof Error) follow(cause);
  };
  const follow = (from: Error) => {
    // A failed undo is told together with what it tried to undo.
    if (from instanceof AggregateError) for (const failed of from.errors) visit(failed);
    visit(from.cause);
  };
  if (error instanceof Error) follow(error);
  return found;
}

/** One block: what failed, its code, what led to it, the state that is left, and what to run next. */
export function renderFailure(screen: Screen, failure: Failure, left: string | null): string {
  const { style } = screen;
  const [first = '', ...rest] = failure.message.split('\n');
  return [
    `${style.bad('✖')} ${style.bold(first)}`,
    ...rest.map((line) => `  ${line}`),
    ...failure.causes
      .filter((cause) => !cleanLine(failure.message).includes(cause))
      .map((cause) => `  ${style.dim('because')} ${cause}`),
    ...(left === null ? [] : [`  ${left}`]),
    `  ${style.dim(failure.code)}`,
    `${style.accent('→')} ${failure.hint}`,
  ].join('\n');
}

/** The state that a failure left, in one line. */
export function renderLeft(status: Status): string {
  const { authority, writable, hold, run } = status;
  const writers = writable.length === 0 ? 'neither side may write' : `${writable.join(' and ')} may write`;
  const held = hold === 'none' ? 'nothing is held' : `${hold === 'all' ? 'all requests are' : 'writes are'} held`;
  return `${authority.side} serves, ${writers}, ${held}${run === null ? '' : `; the run is ${run.status.replace('_', ' ')}`}`;
}
