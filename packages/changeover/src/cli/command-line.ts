import { readFileSync } from 'node:fs';
import { Argument, Command, CommanderError, Help, Option } from 'commander';
import { check } from './check.ts';
import { cutover } from './cutover.ts';
import { finish } from './finish.ts';
import { plan } from './plan.ts';
import { columns, createStyle, wrap } from './render/text.ts';
import { restore } from './restore.ts';
import { rollback } from './rollback.ts';
import { run } from './run.ts';
import { status } from './status.ts';
import { traffic } from './traffic.ts';
import { uninstall } from './uninstall.ts';
import { UsageError, type Verb } from './verb.ts';
import { verify } from './verify.ts';

/** In the order in which a move goes through them. */
export const VERBS: readonly Verb[] = [
  check,
  plan,
  run,
  cutover,
  status,
  verify,
  traffic,
  rollback,
  restore,
  finish,
  uninstall,
];

export const INTERNAL_KINDS = ['supervisor', 'worker', 'keeper'] as const;
export type InternalKind = (typeof INTERNAL_KINDS)[number];

export interface Globals {
  readonly config: string;
  readonly state?: string;
  readonly json?: boolean;
  readonly yes?: boolean;
}

/** What the words of a command line ask for. */
export type Request =
  | {
      readonly kind: 'verb';
      readonly verb: Verb;
      readonly args: readonly string[];
      readonly options: Globals & Record<string, unknown>;
    }
  | { readonly kind: 'internal'; readonly process: InternalKind; readonly options: Globals }
  | { readonly kind: 'text'; readonly text: string };

/** Reads a command line. Throws `UsageError` for what is not one, with the nearest known word where there is one. */
export function parseCommandLine(
  argv: readonly string[],
  screen: { readonly columns: number; readonly isColoured: boolean },
): Request {
  const chosen: Request[] = [];
  let text = '';
  let verbName: string | null = null;
  const program = createProgram(screen, (request) => {
    chosen.push(request);
  });
  program.configureOutput({
    writeOut: (part) => {
      text += part;
    },
    writeErr: () => undefined,
    getOutHelpWidth: () => Math.min(screen.columns, 100),
    getOutHasColors: () => screen.isColoured,
  });
  for (const command of [program, ...program.commands]) {
    if (command !== program) command.copyInheritedSettings(program);
    command.exitOverride((error) => {
      verbName = command === program ? null : command.name();
      throw error;
    });
  }
  try {
    program.parse(argv.length === 0 ? ['--help'] : argv, { from: 'user' });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (error.exitCode !== 0) throw new UsageError(problemOf(error), verbName);
  }
  return chosen[0] ?? { kind: 'text', text: text.trimEnd() };
}

// "error: unknown option '--dry'\n(Did you mean --dry-run?)" as one sentence.
function problemOf(error: CommanderError): string {
  return error.message.replace(/^error: /, '').replace(/\s*\(Did you mean (.*)\?\)$/s, '; did you mean $1?');
}

function createProgram(
  screen: { readonly columns: number; readonly isColoured: boolean },
  choose: (request: Request) => void,
): Command {
  const program = new Command('changeover')
    .description('Moves a running system from its legacy to its new architecture, verified and reversible.')
    .usage('<verb> [options]')
    .version(versionOf(), '--version', 'show the version')
    .helpOption('-h, --help', 'show help, of a verb too')
    .helpCommand(false)
    .option('--config <file>', 'the plan', 'changeover.config.ts')
    .option('--state <dir>', 'where the journal is kept (default: .changeover beside the plan)')
    .option('--json', 'one event a line, the last one the result')
    .option('--yes', 'answer every question with yes')
    .configureHelp({ showGlobalOptions: true, formatHelp: (command, helper) => renderHelp(command, helper, screen) });
  for (const verb of VERBS) {
    const command = program.command(verb.name).summary(verb.summary).description(verb.details);
    if (verb.argument !== undefined) command.addArgument(argumentOf(verb.argument));
    for (const { flags, description, choices } of verb.options ?? []) {
      const option = new Option(flags, description);
      command.addOption(choices === undefined ? option : option.choices(choices));
    }
    command.action(() => {
      choose({ kind: 'verb', verb, args: command.args, options: command.optsWithGlobals() });
    });
  }
  const internal = program
    .command('internal', { hidden: true })
    .description('the processes that a run starts by itself');
  internal.addArgument(new Argument('<kind>').choices(INTERNAL_KINDS)).action((kind: InternalKind) => {
    choose({ kind: 'internal', process: kind, options: internal.optsWithGlobals() });
  });
  return program;
}

function argumentOf({ name, description, choices }: NonNullable<Verb['argument']>): Argument {
  const argument = new Argument(name, description);
  return choices === undefined ? argument : argument.choices(choices);
}

function versionOf(): string {
  const manifest: unknown = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'));
  return String((manifest as { version: unknown }).version);
}

const EXIT_CODES = [
  ['0', 'done'],
  ['1', 'failed and rolled back, or nothing was changed'],
  ['2', 'the plan or the command is wrong'],
  ['3', 'paused, waiting for the operator'],
  ['130', 'interrupted; the same command goes on'],
];

function renderHelp(
  command: Command,
  helper: Help,
  screen: { readonly columns: number; readonly isColoured: boolean },
): string {
  const style = createStyle(screen.isColoured);
  const width = Math.min(screen.columns, 100);
  const verb = VERBS.find(({ name }) => command.parent !== null && name === command.name());
  const section = (title: string, rows: readonly (readonly string[])[]) =>
    rows.length === 0 ? [] : [style.bold(title), ...columns(rows, { indent: 2, width }), ''];
  const options = [...helper.visibleOptions(command), ...helper.visibleGlobalOptions(command)].filter(
    (option) => option.long !== '--version' || command.parent === null,
  );
  const examples = verb?.examples ?? [
    { command: 'changeover check', does: 'look whether a run could start' },
    { command: 'changeover run', does: 'everything up to the switch; the legacy still serves' },
    { command: 'changeover cutover', does: 'switch the sides' },
    { command: 'changeover rollback', does: 'go back, with everything written since' },
  ];
  return [
    `${style.bold(`changeover${verb === undefined ? '' : ` ${verb.name}`}`)}  ${verb?.summary ?? command.description()}`,
    '',
    `${style.dim('Usage:')} ${helper.commandUsage(command)}`,
    '',
    ...(verb === undefined ? [] : [...wrap(verb.details, width), '']),
    ...section('Verbs', verb === undefined ? VERBS.map(({ name, summary }) => [style.accent(name), summary]) : []),
    ...section(
      'Arguments',
      helper
        .visibleArguments(command)
        .map((argument) => [style.accent(argument.name()), helper.argumentDescription(argument)]),
    ),
    ...section(
      'Options',
      options.map((option) => [style.accent(option.flags), helper.optionDescription(option)]),
    ),
    ...section(
      'Examples',
      examples.map(({ command: line, does }) => [line, style.dim(does)]),
    ),
    ...(verb === undefined ? section('Ends with', EXIT_CODES) : []),
  ]
    .join('\n')
    .concat('\n');
}
