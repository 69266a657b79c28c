import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import type { Changeover, OpenOptions, Status } from '../changeover.ts';
import type { Globals, Request } from './command-line.ts';
import type { Output } from './output.ts';
import { askYes } from './question.ts';
import { renderBrief } from './render/brief.ts';
import { failureOf } from './render/error.ts';
import type { Terminal } from './terminal.ts';
import { UsageError, type Answer, type Call, type Verb } from './verb.ts';

/** What the command line drives. */
export type Engine = Pick<typeof import('../changeover.ts'), 'openChangeover' | 'runInternal' | 'ChangeoverError'>;

/** One command line with all that it needs. */
export interface Shell {
  readonly argv: readonly string[];
  readonly terminal: Terminal;
  readonly output: Output;
  readonly engine: () => Promise<Engine>;
}

const INTERRUPTED = 130;

/** Opens the plan, runs the verb on it, tells what came of it, and resolves with the exit code. */
export async function performVerb(
  shell: Shell,
  { verb, args, options }: Extract<Request, { kind: 'verb' }>,
): Promise<number> {
  const { terminal, output } = shell;
  const interruption = interruptible(shell, verb);
  const { signal } = interruption;
  try {
    const changeover = await open(shell, options);
    try {
      return await told(shell, {
        verb,
        call: {
          changeover,
          args,
          options,
          signal,
          screen: output.screen,
          cwd: terminal.cwd,
          ask: (decision) => ask(shell, decision, { changeover, verb, options, signal }),
          isNew: (verdict) => output.isNew(verdict),
          say: (text, data) => {
            output.say(text, data);
          },
          show: (text, data) => {
            output.show(text, data);
          },
        },
      });
    } finally {
      await changeover.close();
    }
  } finally {
    interruption.end();
  }
}

async function open(
  { engine, terminal, output }: Shell,
  { config, state, slice }: Globals & { readonly slice?: unknown },
): Promise<Changeover> {
  const configFile = resolve(terminal.cwd, config);
  const { ChangeoverError, openChangeover } = await engine();
  if (!existsSync(configFile)) throw new ChangeoverError('CHG_CLI_NO_PLAN', { file: configFile });
  const options: OpenOptions = {
    configFile,
    ...(typeof slice === 'string' ? { slice } : {}),
    onEvent: (event) => {
      output.event(event);
    },
  };
  return openChangeover(state === undefined ? options : { ...options, stateDir: resolve(terminal.cwd, state) });
}

async function told(shell: Shell, { verb, call }: { readonly verb: Verb; readonly call: Call }): Promise<number> {
  let answer: Answer;
  try {
    answer = await verb.run(call);
  } catch (error) {
    if (error instanceof UsageError) throw error;
    if (call.signal.aborted && isInterruption(error)) return interrupted(shell, verb, failureOf(error).message);
    return tell(shell, error, await statusLeft(call.changeover));
  }
  // Stopped on the way; what was already done when Ctrl-C came counts as done.
  if (call.signal.aborted && answer.exitCode === 3) return interrupted(shell, verb, null);
  shell.output.result(answer.text, { verb: verb.name, exitCode: answer.exitCode, ...answer.result });
  return answer.exitCode;
}

/** True for what an aborted signal makes of work; a failure of its own, such as an undo that failed, is told as one. */
function isInterruption(error: unknown): boolean {
  const { code, exitCode } = failureOf(error);
  return exitCode === INTERRUPTED || code === 'CHG_CLI_UNEXPECTED' || code.endsWith('_INTERRUPTED');
}

function interrupted({ argv, output }: Shell, verb: Verb, reason: string | null): number {
  const again = commandLine(argv);
  const text = verb.isReading
    ? 'Interrupted.'
    : `${reason === null ? 'Interrupted.' : `Interrupted: ${reason}.`}\n${output.screen.style.accent('→')} ${again}`;
  output.result(text, { verb: verb.name, exitCode: INTERRUPTED, interrupted: true, reason, resume: again });
  return INTERRUPTED;
}

/** The state that a failure left. The failure comes first: where the state cannot be read either, that is one more line of it. */
async function statusLeft(changeover: Changeover): Promise<Status | Error> {
  try {
    return await changeover.status();
  } catch (error) {
    return error instanceof Error ? error : new Error(String(error));
  }
}

/** Tells a failure, with the state that it left where that is known, and returns its exit code. */
export function tell({ output, terminal }: Shell, error: unknown, left: Status | Error | null): number {
  const failure = failureOf(error);
  const unread = left instanceof Error ? [`the state that is left could not be read: ${left.message}`] : [];
  output.fail({ ...failure, causes: [...failure.causes, ...unread] }, left instanceof Error ? null : left);
  if (terminal.isDebugging && error instanceof Error) terminal.stderr.write(`${error.stack ?? ''}\n`);
  return failure.exitCode;
}

interface Question {
  readonly changeover: Changeover;
  readonly verb: Verb;
  readonly options: Globals;
  readonly signal: AbortSignal;
}

async function ask(
  { argv, terminal, output, engine }: Shell,
  decision: Parameters<Call['ask']>[0],
  { changeover, verb, options, signal }: Question,
): Promise<boolean> {
  const isYes = options.yes === true;
  if (!isYes && (options.json === true || !terminal.canAsk)) {
    const { ChangeoverError } = await engine();
    throw new ChangeoverError('CHG_CLI_NEEDS_YES', { verb: verb.name, command: commandLine([...argv, '--yes']) });
  }
  const brief = await changeover.brief(decision);
  output.settle();
  output.say(`\n${renderBrief(output.screen, brief)}\n`, { event: 'brief', ...brief });
  return isYes || askYes(terminal, 'Continue?', signal);
}

/** The words as one types them in a shell. */
function commandLine(argv: readonly string[]): string {
  const quoted = argv.map((word) => (/^[\w./:=@%+,-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`));
  return ['changeover', ...quoted].join(' ');
}

/** The first Ctrl-C stops the work so that it can go on later, the second one leaves at once; the journal makes both safe. */
function interruptible(
  { argv, terminal, output }: Shell,
  verb: Verb,
): { readonly signal: AbortSignal; readonly end: () => void } {
  const controller = new AbortController();
  const end = terminal.onInterrupt(() => {
    if (controller.signal.aborted) {
      output.settle();
      terminal.exit(INTERRUPTED);
      return;
    }
    if (!verb.isReading) output.say(`\nStopping. \`${commandLine(argv)}\` goes on later; Ctrl-C again leaves at once.`);
    controller.abort(new Error('interrupted'));
  });
  return { signal: controller.signal, end };
}
