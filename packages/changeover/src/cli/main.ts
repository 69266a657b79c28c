import { resolve } from 'node:path';
import type { OpenOptions } from '../changeover.ts';
import { parseCommandLine, type Globals } from './command-line.ts';
import { createOutput } from './output.ts';
import { performVerb, tell, type Engine, type Shell } from './perform.ts';
import { processTerminal, type Terminal } from './terminal.ts';
import { UsageError } from './verb.ts';

/** Loaded late, so that `--help` answers at once. */
const loadEngine = (): Promise<Engine> => import('../changeover.ts');

/**
 * Runs one command line and resolves with its exit code: 0 done, 1 failed and rolled back, 2 the plan or the command is wrong, 3 paused
 * and waiting for the operator, 130 interrupted. Never rejects: every failure is told on the terminal.
 *
 * @example
 * ```ts
 * process.exitCode = await runCli(['status', '--json']);
 * ```
 */
export async function runCli(
  argv: readonly string[],
  terminal: Terminal = processTerminal(),
  engine: () => Promise<Engine> = loadEngine,
): Promise<number> {
  const shell: Shell = { argv, terminal, engine, output: createOutput(terminal, { json: argv.includes('--json') }) };
  try {
    return await attempt(shell);
  } catch (error) {
    return tell(shell, error, null);
  }
}

async function attempt(shell: Shell): Promise<number> {
  try {
    return await perform(shell);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    const { ChangeoverError } = await shell.engine();
    const help = `changeover${error.verb === null ? '' : ` ${error.verb}`} --help`;
    throw new ChangeoverError('CHG_CLI_USAGE', { problem: error.message, help });
  }
}

async function perform(shell: Shell): Promise<number> {
  const { argv, terminal, engine } = shell;
  const { columns } = terminal.isTTY ? terminal.size() : { columns: 100 };
  const request = parseCommandLine(argv, { columns, isColoured: terminal.isColoured });
  switch (request.kind) {
    case 'text':
      terminal.stdout.write(`${request.text}\n`);
      // Without a verb the list of verbs is help for a person and a mistake in a script.
      return argv.length === 0 ? 2 : 0;
    case 'internal':
      await (await engine()).runInternal(request.process, internalOptions(request.options, terminal));
      return 0;
    case 'verb':
      return performVerb(shell, request);
  }
}

/** Whoever starts these processes names both places. */
function internalOptions({ config, state }: Globals, { cwd }: Terminal): OpenOptions & { readonly stateDir: string } {
  if (state === undefined) throw new UsageError('the option --state is missing', 'internal');
  return { configFile: resolve(cwd, config), stateDir: resolve(cwd, state) };
}
