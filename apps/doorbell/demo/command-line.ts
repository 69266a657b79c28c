import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createRequire } from 'node:module';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { environmentOf, type Places } from './places.ts';

const CONFIG = fileURLToPath(new URL('../changeover.config.ts', import.meta.url));
const BIN = path.join(
  path.dirname(createRequire(import.meta.url).resolve('changeover/package.json')),
  'bin/changeover.js',
);

/** Runs the command line as a person would, and shows what a person would see; with `json` its events instead. */
export class CommandLine {
  readonly #places: Places;
  readonly #isJson: boolean;

  constructor(places: Places, isJson: boolean) {
    this.#places = places;
    this.#isJson = isJson;
  }

  /** Shows the verb's screen. Throws when it does not end as expected. */
  async run(
    args: readonly string[],
    expected: { readonly killedAt?: string; readonly codes?: readonly number[] } = {},
  ): Promise<void> {
    const { killedAt, codes = [0] } = expected;
    const child = spawn(
      process.execPath,
      [BIN, ...args, '--yes', ...this.#options(), ...(this.#isJson ? ['--json'] : [])],
      {
        env: this.#environment(killedAt === undefined ? {} : { CHANGEOVER_FAULT: `${killedAt}:kill` }),
        stdio: ['ignore', 'inherit', 'inherit'],
      },
    );
    const [code, signal] = (await once(child, 'exit')) as [number | null, NodeJS.Signals | null];
    const isExpected = killedAt === undefined ? code !== null && codes.includes(code) : signal === 'SIGKILL';
    if (!isExpected) throw new Error(`changeover ${args.join(' ')} ended with ${String(code ?? signal)}`);
  }

  /** The verb's answer, for the demonstration's own use; nothing is shown. */
  async ask(args: readonly string[]): Promise<Readonly<Record<string, unknown>>> {
    const child = spawn(process.execPath, [BIN, ...args, ...this.#options(), '--json', '--yes'], {
      env: this.#environment({}),
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let output = '';
    child.stdout.setEncoding('utf8').on('data', (chunk: string) => (output += chunk));
    await once(child, 'close');
    return JSON.parse(output.trim().split('\n').at(-1) ?? '{}') as Record<string, unknown>;
  }

  #options(): string[] {
    return ['--config', CONFIG, '--state', this.#places.stateDir];
  }

  #environment(more: Readonly<Record<string, string>>): NodeJS.ProcessEnv {
    return {
      ...process.env,
      ...environmentOf(this.#places),
      ...(process.stdout.isTTY ? { FORCE_COLOR: '1' } : {}),
      ...more,
    };
  }
}
