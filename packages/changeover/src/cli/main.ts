import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import type { Changeover, OpenOptions, Status } from '../changeover.ts';
import { parseCommandLine, type Globals, type Request } from './command-line.ts';
import { createOutput, type Output } from './output.ts';
import { askYes } from './question.ts';
import { renderBrief } from './render/brief.ts';
import { failureOf } from './render/error.ts';
import { processTerminal, type Terminal } from './terminal.ts';
import { UsageError, type Answer, type Call, type Verb } from './verb.ts';

export type { Terminal } from './terminal.ts';

/** Loaded late, so that `--help` and a mistyped verb answer at once. */
const engine = () => import('../changeover.ts');

const INTERRUPTED = 130;

/**
 * Runs one command line and resolves with its exit code: 0 done, 1 failed and rolled back, 2 the plan or the command is wrong, 3 paused
 * and waiting for the operator, 130 interrupted. Never rejects: every failure is told on the terminal.
 *
 * @example
 * ```ts
 * process.exitCode = await runCli(['status', '--json']);
 * ```
 */
export async function runCli(argv: readonly string[], terminal: Terminal = processTerminal()): Promise<number> {
  const output = createOutput(terminal, { json: argv.includes('--json') });
  try {
    return await attempt(argv, terminal, output);
  } catch (error) {
    return tell(error, terminal, output, null);
  }
}

async function attempt(argv: readonly string[], terminal: Terminal, output: Output): Promise<number> {
  try {
    const { columns } = terminal.isTTY ? terminal.size() : { columns: 100 };
    return await perform(parseCommandLine(argv, { columns, isColoured: terminal.isColoured }), terminal, output, argv);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    const { ChangeoverError } = await engine();
    const help = `changeover${error.verb === null ? '' : ` ${error.verb}`} --help`;
    throw new ChangeoverError('CHG_CLI_USAGE', { problem: error.message, help });
  }
}

async function perform(request: Request, terminal: Terminal, output: Output, argv: readonly string[]): Promise<number> {
  switch (request.kind) {
    case 'text':
      terminal.stdout.write(`${request.text}\n`);
      // Without a verb the list of verbs is help for a person and a mistake in a script.
      return argv.length === 0 ? 2 : 0;
    case 'internal':
      await (await engine()).runInternal(request.process, internalOptions(request.options, terminal));
      return 0;
    case 'verb':
      return performVerb(request.verb, request, terminal, output);
  }
}

async function performVerb(
  verb: Verb,
  { args, options }: Extract<Request, { kind: 'verb' }>,
  terminal: Terminal,
  output: Output,
): Promise<number> {
  const again = commandLine(verb.name, options);
  const interruption = interruptible(terminal, output, verb, again);
  try {
    const open: OpenOptions = {
      ...(await openOptions(options, terminal)),
      onEvent: (event) => {
        output.event(event);
      },
    };
    const { openChangeover } = await engine();
    const changeover = await openChangeover(open);
    const call: Call = {
      changeover,
      args,
      options,
      screen: output.screen,
      cwd: terminal.cwd,
      signal: interruption.signal,
      ask: (decision) => ask(decision, changeover, { verb, options, terminal, output, signal: interruption.signal }),
      say: (text, data) => {
        output.say(text, data);
      },
      show: (text, data) => {
        output.show(text, data);
      },
    };
    try {
      return await answered(verb, call, terminal, output, again);
    } finally {
      await changeover.close();
    }
  } finally {
    interruption.end();
  }
}

async function answered(verb: Verb, call: Call, terminal: Terminal, output: Output, again: string): Promise<number> {
  let answer: Answer;
  try {
    answer = await verb.run(call);
  } catch (error) {
    if (error instanceof UsageError) throw error;
    if (call.signal.aborted) return interrupted(verb, output, again);
    return tell(error, terminal, output, await statusLeft(call.changeover));
  }
  // Interrupted and stopped on the way; what was already done when Ctrl-C came counts as done.
  if (call.signal.aborted && answer.exitCode === 3) return interrupted(verb, output, again);
  output.result(answer.text, { verb: verb.name, exitCode: answer.exitCode, ...answer.result });
  return answer.exitCode;
}

function interrupted(verb: Verb, output: Output, again: string): number {
  output.result(`Interrupted. It goes on with: ${again}`, {
    verb: verb.name,
    exitCode: INTERRUPTED,
    interrupted: true,
    resume: again,
  });
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

function tell(error: unknown, terminal: Terminal, output: Output, left: Status | Error | null): number {
  const failure = failureOf(error);
  const unread = left instanceof Error ? [`the state that is left could not be read: ${left.message}`] : [];
  output.fail({ ...failure, causes: [...failure.causes, ...unread] }, left instanceof Error ? null : left);
  if (terminal.isDebugging && error instanceof Error) terminal.stderr.write(`${error.stack ?? ''}\n`);
  return failure.exitCode;
}

async function openOptions({ config, state }: Globals, { cwd }: Terminal): Promise<OpenOptions> {
  const configFile = resolve(cwd, config);
  if (!existsSync(configFile)) {
    const { ChangeoverError } = await engine();
    throw new ChangeoverError('CHG_CLI_NO_PLAN', { file: configFile });
  }
  return { configFile, ...(state === undefined ? {} : { stateDir: resolve(cwd, state) }) };
}

/** Whoever starts these processes names both places. */
function internalOptions({ config, state }: Globals, { cwd }: Terminal): OpenOptions & { readonly stateDir: string } {
  if (state === undefined) throw new UsageError('the option --state is missing', 'internal');
  return { configFile: resolve(cwd, config), stateDir: resolve(cwd, state) };
}

async function ask(
  decision: Parameters<Call['ask']>[0],
  changeover: Changeover,
  {
    verb,
    options,
    terminal,
    output,
    signal,
  }: {
    readonly verb: Verb;
    readonly options: Globals;
    readonly terminal: Terminal;
    readonly output: Output;
    readonly signal: AbortSignal;
  },
): Promise<boolean> {
  const isYes = options.yes === true;
  if (!isYes && (options.json === true || !terminal.canAsk)) {
    const { ChangeoverError } = await engine();
    throw new ChangeoverError('CHG_CLI_NEEDS_YES', {
      verb: verb.name,
      command: commandLine(verb.name, { ...options, yes: true }),
    });
  }
  const brief = await changeover.brief(decision);
  output.settle();
  output.say(`\n${renderBrief(output.screen, brief)}\n`, { event: 'brief', ...brief });
  return isYes || askYes(terminal, 'Continue?', signal);
}

/** The words that run a verb again with the same plan. */
function commandLine(verb: string, { config, state, yes }: Globals): string {
  const words = ['changeover', verb];
  if (config !== 'changeover.config.ts') words.push('--config', config);
  if (state !== undefined) words.push('--state', state);
  if (yes === true) words.push('--yes');
  return words.map((word) => (/^[\w./:=@%+,-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`)).join(' ');
}

/** The first Ctrl-C stops the work so that it can go on later, the second one leaves at once; the journal makes both safe. */
function interruptible(
  terminal: Terminal,
  output: Output,
  verb: Verb,
  again: string,
): { readonly signal: AbortSignal; end(): void } {
  const controller = new AbortController();
  const end = terminal.onInterrupt(() => {
    if (controller.signal.aborted) {
      output.settle();
      terminal.exit(INTERRUPTED);
      return;
    }
    if (!verb.isReading) output.say(`\nStopping. ${again} goes on later; Ctrl-C again leaves at once.`);
    controller.abort(new Error('interrupted'));
  });
  return { signal: controller.signal, end };
}
