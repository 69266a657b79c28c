import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { PassThrough } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  CATALOGUE,
  ChangeoverError,
  type Changeover,
  type DecisionBrief,
  type OpenOptions,
  type Status,
  type Verdict,
} from '../changeover.ts';
import { VERBS } from './command-line.ts';
import { runCli } from './main.ts';
import type { Engine } from './perform.ts';
import type { Terminal } from './terminal.ts';

/**
 * The engine's answers are scripted here, to see what the command line makes of each; the real engine runs under it in bin.test.ts
 * and in the tests of whole moves.
 */
const status: Status = {
  plan: 'doorbell',
  slice: null,
  slices: [],
  planHash: 'abc',
  run: { id: 'r1', status: 'ready', startedAtMs: 0, progress: 0.9, remainingMs: null },
  stages: [],
  authority: {
    side: 'legacy',
    state: 'LIVE_OLD',
    epoch: 1,
    version: 1,
    leaseUntilMs: null,
    leaseBoot: null,
    operatorHold: false,
    reason: null,
  },
  hold: 'none',
  writable: ['legacy'],
  owner: null,
  keeper: null,
  gateway: null,
  units: [],
  pendingChanges: null,
  lags: [],
  heldBack: null,
  notReturnable: [],
  errors: [],
  warnings: [],
  nextCommand: 'changeover cutover',
};

const verdict = (outcome: Verdict['outcome']): Verdict => ({
  check: 'events: rows equal',
  outcome,
  evidence: '12 rows',
  measured: 12,
});

const brief = (decision: DecisionBrief['decision']): DecisionBrief => ({
  decision,
  serves: 'legacy',
  writes: 'legacy',
  changes: [],
  undoneBy: '`changeover rollback`',
  lost: 'nothing',
  duration: 'about 40 ms',
  evidence: [verdict('PASS')],
});

type Script = Partial<Changeover> & { readonly onOpen?: (options: OpenOptions) => void };

function scripted(script: Script): { readonly engine: () => Promise<Engine>; readonly calls: string[] } {
  const calls: string[] = [];
  const notScripted = (name: string) => () => Promise.reject(new Error(`${name} is not part of this test`));
  const changeover = new Proxy({} as Changeover, {
    get: (_, name: keyof Changeover | 'then') =>
      name === 'then'
        ? undefined
        : (given: unknown, options: unknown) => {
            calls.push(typeof given === 'string' ? `${name} ${given}` : name);
            const standard: Partial<Changeover> = {
              status: () => Promise.resolve(status),
              brief: (decision) => Promise.resolve(brief(decision)),
              close: () => Promise.resolve(),
            };
            const method = (script[name] ?? standard[name] ?? notScripted(name)) as (...values: unknown[]) => unknown;
            return method(given, options);
          },
  });
  const engine: Engine = {
    ChangeoverError,
    openChangeover: (options) => {
      script.onOpen?.(options);
      return Promise.resolve(changeover);
    },
    runInternal: (kind, options) => {
      calls.push(`internal ${kind} ${options.stateDir}`);
      return Promise.resolve();
    },
  };
  return { engine: () => Promise.resolve(engine), calls };
}

let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'changeover-cli-'));
  await writeFile(path.join(folder, 'changeover.config.ts'), 'export default null;\n');
});

afterEach(async () => {
  await rm(folder, { recursive: true });
});

interface Ran {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
  readonly calls: readonly string[];
}

interface Setting {
  readonly script?: Script;
  /** What the person at the terminal types; without it there is a pipe. */
  readonly typed?: string;
  readonly onTerminal?: (terminal: { interrupt: () => void; exits: number[] }) => void;
}

async function cli(words: string, { script = {}, typed, onTerminal }: Setting = {}): Promise<Ran> {
  const { engine, calls } = scripted(script);
  const stdin = new PassThrough();
  if (typed !== undefined) stdin.end(typed);
  let stdout = '';
  let stderr = '';
  const listeners = new Set<() => void>();
  const exits: number[] = [];
  const terminal: Terminal = {
    stdout: { write: (text) => (stdout += text) },
    stderr: { write: (text) => (stderr += text) },
    stdin,
    isTTY: typed !== undefined,
    canAsk: typed !== undefined,
    isColoured: false,
    cwd: folder,
    isDebugging: false,
    size: () => ({ columns: 100, rows: 30 }),
    onInterrupt: (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    exit: (code) => exits.push(code),
  };
  onTerminal?.({
    exits,
    interrupt: () => {
      for (const listener of listeners) listener();
    },
  });
  const code = await runCli(words === '' ? [] : words.split(' '), terminal, engine);
  expect(listeners.size).toBe(0);
  return { code, stdout, stderr, calls };
}

const lines = (text: string): Record<string, unknown>[] =>
  text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>);

describe('exit codes', () => {
  it.each([
    ['ready', 0],
    ['live', 0],
    ['finished', 0],
    ['failed', 1],
    ['rolled_back', 1],
    ['paused', 3],
    ['running', 3],
  ] as const)('a run that ends as %s exits with %i', async (ended, code) => {
    const ran = await cli('run --yes', { script: { run: () => Promise.resolve({ status: ended, verdicts: [] }) } });
    expect(ran.code).toBe(code);
  });

  it('a cutover that switched exits with 0, one that was given up with 1, one with a failed check with 3', async () => {
    const cutover = (reverted: string | null, outcome: Verdict['outcome']) =>
      cli('cutover --yes', {
        script: {
          cutover: () =>
            Promise.resolve({
              side: reverted === null ? 'next' : 'legacy',
              state: 'LIVE_NEW',
              holdMs: 41,
              verdicts: [verdict(outcome)],
              reverted,
            }),
        },
      });
    expect(await cutover(null, 'PASS')).toMatchObject({
      code: 0,
      stdout: expect.stringContaining('✔ next serves; requests were held for 41 ms  1 passed') as string,
    });
    expect(await cutover('the deadline passed', 'PASS')).toMatchObject({
      code: 1,
      stdout: expect.stringContaining('the switch was given up: the deadline passed; legacy serves on') as string,
    });
    expect(await cutover(null, 'FAIL')).toMatchObject({ code: 3 });
  });

  it('checks that fail exit with 1, inconclusive ones and none at all with 3', async () => {
    const verify = (...verdicts: Verdict[]) => cli('verify', { script: { verify: () => Promise.resolve(verdicts) } });
    expect((await verify(verdict('PASS'))).code).toBe(0);
    expect((await verify(verdict('PASS'), verdict('FAIL'), verdict('INCONCLUSIVE'))).code).toBe(1);
    expect((await verify(verdict('PASS'), verdict('INCONCLUSIVE'))).code).toBe(3);
    expect(await verify()).toMatchObject({ code: 3, stdout: 'nothing was checked\n' });
  });

  it('a check that finds an error exits with 1', async () => {
    const check = (level: 'error' | 'warning') =>
      cli('check', { script: { check: () => Promise.resolve([{ level, about: 'x', message: 'y' }]) } });
    expect((await check('error')).code).toBe(1);
    expect((await check('warning')).code).toBe(0);
  });

  it('an error exits with the code of the catalogue, and tells the state that is left', async () => {
    const paused = new ChangeoverError('CHG_CLI_NO_PLAN', { file: 'x' });
    const ran = await cli('status', { script: { status: () => Promise.reject(paused) } });
    expect(ran).toMatchObject({ code: 2, stdout: '' });
    expect(ran.stderr).toContain('the state that is left could not be read: there is no plan at x');
    const failing = await cli('verify', { script: { verify: () => Promise.reject(new Error('lost connection')) } });
    expect(failing.code).toBe(1);
    expect(failing.stderr).toBe(`✖ unexpected: Error: lost connection
  legacy serves, legacy may write, nothing is held; the run is ready
  CHG_CLI_UNEXPECTED
→ Run \`changeover status\` to see how far it came; CHANGEOVER_DEBUG=1 shows where it happened.
`);
    expect(failing.calls.at(-1)).toBe('close');
  });
});

describe('questions', () => {
  const script: Script = {
    run: () => Promise.resolve({ status: 'ready', verdicts: [] }),
    finish: () => Promise.resolve({ status: 'finished', verdicts: [] }),
  };

  it('are asked after the brief, and a yes goes on', async () => {
    const ran = await cli('finish', { script, typed: 'y\n' });
    expect(ran.code).toBe(0);
    expect(ran.stdout).toMatch(
      /Before the end\n {2}Serves {5}legacy[^]*Evidence {3}PASS[^]*Continue\? \[y\/N\] [^]*✔ Finished/,
    );
  });

  it.each(['n\n', '\n', '', 'yeah\n', 'ja\n'])('are not taken as answered with yes by %j', async (typed) => {
    const ran = await cli('run', { script, typed });
    expect(ran).toMatchObject({ code: 1, calls: ['brief run', 'close'] });
    expect(ran.stdout).toContain('Nothing was changed.');
  });

  it.each(['run', 'cutover', 'rollback', 'finish', 'uninstall'])(
    'of %s are refused where nobody can answer',
    async (verb) => {
      const ran = await cli(verb, { script });
      expect(ran).toMatchObject({ code: 2, stdout: '' });
      expect(ran.stderr).toContain(`\`changeover ${verb}\` asks before it changes anything`);
      expect(ran.stderr).toContain(`→ Run \`changeover ${verb} --yes\``);
      expect(ran.calls.filter((call) => !['close', 'status'].includes(call))).toEqual([]);
    },
  );

  it('with --yes are shown and not asked', async () => {
    const ran = await cli('finish --yes', { script, typed: '' });
    expect(ran.code).toBe(0);
    expect(ran.stdout).toContain('Before the end');
    expect(ran.stdout).not.toContain('Continue?');
  });

  it('of a run through the cutover come twice: the second on what was just measured', async () => {
    const ran = await cli('run --through --yes', { script });
    expect(ran.calls.filter((call) => /brief|run/.test(call))).toEqual(['brief run', 'run', 'brief cutover', 'run']);
    const declined = await cli('run --through', { script, typed: 'y\n' });
    expect(declined.calls.filter((call) => call === 'run')).toHaveLength(1);
    expect(declined.code).toBe(0);
  });

  it('of a restore come after what would be lost', async () => {
    const ran = await cli('restore s1', {
      typed: 'y\n',
      script: {
        restore: (_id, options) =>
          Promise.resolve({ lost: options?.dryRun === true ? ['data/events.log: 12 lines newer'] : [], restored: 3 }),
      },
    });
    expect(ran.stdout).toMatch(
      /Lost would be 1 change:\n {2}data\/events\.log: 12 lines newer\n[^]*Before the restore[^]*✔ Restored 3 files of s1/,
    );
    expect(ran.calls).toEqual(['restore s1', 'brief restore', 'restore s1', 'close']);
  });

  it('are never asked by a dry run, a list, or a verb that only reads', async () => {
    const legacy = [{ table: 'events', rows: 2, unit: 'rows' as const }];
    const script: Script = {
      rollback: () => Promise.resolve({ status: 'live', verdicts: [], legacy }),
      snapshots: () => Promise.resolve([]),
      restore: () => Promise.resolve({ lost: [], restored: 1 }),
      traffic: () => Promise.resolve(null),
    };
    expect((await cli('rollback --dry-run', { script })).stdout).toBe(
      'The legacy, kept current, would serve again with\n  2 rows of events\n',
    );
    expect((await cli('restore', { script })).code).toBe(0);
    expect((await cli('restore s1 --dry-run', { script })).stdout).toBe(
      'Would restore 1 file\nNothing would be lost.\n',
    );
    expect(await cli('traffic hold', { script })).toMatchObject({ code: 0, calls: ['traffic hold', 'close'] });
    expect((await cli('status', { script })).code).toBe(0);
  });
});

describe('--json', () => {
  it('prints one event a line, the last one the result', async () => {
    let emit: OpenOptions['onEvent'];
    const ran = await cli('run --yes --json', {
      script: {
        onOpen: (options) => {
          emit = options.onEvent;
        },
        run: () => {
          emit?.({ event: 'stage', stage: 'data', status: 'started' });
          emit?.({ event: 'warning', message: 'two\nlines' });
          return Promise.resolve({ status: 'ready', verdicts: [verdict('PASS')] });
        },
      },
    });
    expect(lines(ran.stdout)).toEqual([
      { event: 'brief', ...brief('run') },
      { event: 'stage', stage: 'data', status: 'started' },
      { event: 'warning', message: 'two\nlines' },
      { event: 'result', verb: 'run', exitCode: 0, status: 'ready', verdicts: [verdict('PASS')] },
    ]);
    expect(ran.stderr).toBe('');
  });

  it('prints a failure as an event, also of a wrong command line', async () => {
    const ran = await cli('run --json');
    expect(ran.code).toBe(2);
    expect(lines(ran.stdout)).toMatchObject([
      {
        event: 'error',
        code: 'CHG_CLI_NEEDS_YES',
        exitCode: 2,
        hint: 'Run `changeover run --json --yes` to go on without the question.',
      },
    ]);
    const wrong = await cli('rnu --json');
    expect(lines(wrong.stdout)).toMatchObject([
      { event: 'error', code: 'CHG_CLI_USAGE', message: "unknown command 'rnu'; did you mean run?" },
    ]);
  });
});

describe('Ctrl-C', () => {
  const untilAborted = (options?: { signal?: AbortSignal }) =>
    new Promise<never>((_, reject) => {
      options?.signal?.addEventListener('abort', () => {
        reject(new Error('stopped in the middle'));
      });
    });

  it('stops a run so that it can go on, says how, and exits with 130', async () => {
    let interrupt: () => void = () => undefined;
    const ran = await cli('run --yes --state other', {
      onTerminal: (terminal) => ({ interrupt } = terminal),
      script: {
        run: (options) => {
          setImmediate(interrupt);
          return untilAborted(options);
        },
      },
    });
    expect(ran).toMatchObject({ code: 130, stderr: '' });
    expect(ran.stdout).toContain(
      'Stopping. `changeover run --yes --state other` goes on later; Ctrl-C again leaves at once.',
    );
    expect(ran.stdout).toMatch(
      /Interrupted: unexpected: Error: stopped in the middle\.\n→ changeover run --yes --state other\n$/,
    );
    expect(ran.calls.at(-1)).toBe('close');
  });

  it('a second time leaves at once', async () => {
    let terminalOf: { interrupt: () => void; exits: number[] } | undefined;
    await cli('run --yes', {
      onTerminal: (terminal) => {
        terminalOf = terminal;
      },
      script: {
        run: () =>
          new Promise((_, reject) => {
            setImmediate(() => {
              terminalOf?.interrupt();
              terminalOf?.interrupt();
              expect(terminalOf?.exits).toEqual([130]);
              reject(new Error('left'));
            });
          }),
      },
    });
    expect(terminalOf?.exits).toEqual([130]);
  });

  it('does not hide what was already done', async () => {
    let interrupt: () => void = () => undefined;
    const ran = await cli('finish --yes', {
      onTerminal: (terminal) => ({ interrupt } = terminal),
      script: {
        finish: () => {
          interrupt();
          return Promise.resolve({ status: 'finished', verdicts: [] });
        },
      },
    });
    expect(ran.code).toBe(0);
  });

  it('ends status --watch without a failure', async () => {
    let interrupt: () => void = () => undefined;
    const ran = await cli('status --watch --json', {
      onTerminal: (terminal) => ({ interrupt } = terminal),
      script: {
        status: () => {
          setImmediate(interrupt);
          return Promise.resolve(status);
        },
      },
    });
    expect(ran.code).toBe(0);
    expect(lines(ran.stdout).map(({ event }) => event)).toEqual(['status', 'result']);
  });
});

describe('words', () => {
  it('resolve against the folder in which they are typed', async () => {
    let opened: OpenOptions | undefined;
    const script: Script = {
      onOpen: (options) => {
        opened = options;
      },
    };
    await cli('status --state ../journal', { script });
    expect(opened).toMatchObject({
      configFile: path.join(folder, 'changeover.config.ts'),
      stateDir: path.resolve(folder, '../journal'),
    });
    const ran = await cli('status --config missing.ts', { script });
    expect(ran.code).toBe(2);
    expect(ran.stderr).toContain(`there is no plan at ${path.join(folder, 'missing.ts')}`);
  });

  it('that are wrong name the nearest, and the help of the verb', async () => {
    const wrong = async (words: string) => (await cli(words)).stderr;
    expect(await wrong('roll-back')).toMatch(
      /^✖ unknown command 'roll-back'; did you mean rollback\?[^]*→ Run `changeover --help`/,
    );
    expect(await wrong('rollback --dry-rn')).toMatch(
      /unknown option '--dry-rn'; did you mean --dry-run\?[^]*→ Run `changeover rollback --help`/,
    );
    expect(await wrong('run --until nowhere')).toContain('Allowed choices are prepare, backup');
    expect(await wrong('run --until')).toContain('argument missing');
    expect(await wrong('traffic close')).toContain('Allowed choices are show, start, stop, hold, release');
    expect(await wrong('check one two')).toContain('too many arguments');
    expect(await wrong('run --until validate --yes')).toContain('needs --through');
    expect(await wrong('internal worker')).toContain('the option --state is missing');
  });

  it('plan --out writes the report as JSON beside showing it', async () => {
    const report = {
      name: 'doorbell',
      hash: 'abc',
      findings: [],
      footprint: [],
      settings: null,
      tables: [],
      pauses: [],
      notReturned: [],
      schema: [],
    };
    const ran = await cli('plan --out report.json', { script: { plan: () => Promise.resolve(report) } });
    expect(ran.code).toBe(0);
    expect(JSON.parse(await readFile(path.join(folder, 'report.json'), 'utf8'))).toEqual(report);
  });

  it('without a verb show the verbs and exit with 2', async () => {
    const ran = await cli('');
    expect(ran.code).toBe(2);
    for (const { name, summary } of VERBS) expect(ran.stdout).toContain(`${name.padEnd(9)}  ${summary}`);
  });

  it('of the hidden verb start the processes of a run', async () => {
    const ran = await cli('internal keeper --state s');
    expect(ran).toMatchObject({ code: 0, stdout: '', calls: [`internal keeper ${path.join(folder, 's')}`] });
    expect((await cli('--help')).stdout).not.toContain('internal');
  });
});

it('a terminal gets bars that are removed before the end', async () => {
  let emit: OpenOptions['onEvent'];
  const ran = await cli('run --yes', {
    typed: '',
    script: {
      onOpen: (options) => {
        emit = options.onEvent;
      },
      run: async () => {
        emit?.({ event: 'stage', stage: 'data', status: 'started' });
        emit?.({
          event: 'progress',
          stage: 'data',
          step: 'copy',
          fraction: 0.5,
          what: 'events',
          done: 1,
          total: 2,
          unit: 'rows',
          remainingMs: null,
        });
        await new Promise((resolve) => setTimeout(resolve, 250));
        emit?.({ event: 'stage', stage: 'data', status: 'completed' });
        return { status: 'ready', verdicts: [] };
      },
    },
  });
  expect(ran.stdout).toContain('◐ data · events');
  const [, end = ''] = ran.stdout.split(/(?=✔ Ready)/);
  expect(end).not.toContain('\u001b[');
  expect(ran.stdout).toContain('\u001b[2A\r\u001b[0J');
});

it('a verdict that was told while a verb ran is not told again at its end', async () => {
  let emit: OpenOptions['onEvent'];
  const verify = (told: Verdict, untold: Verdict) =>
    cli('verify', {
      script: {
        onOpen: (options) => {
          emit = options.onEvent;
        },
        verify: () => {
          emit?.({ event: 'verdict', verdict: told });
          return Promise.resolve([told, untold]);
        },
      },
    });
  const ran = await verify(verdict('FAIL'), { ...verdict('PASS'), check: 'faces: rows equal' });
  expect(ran.stdout).toBe(
    '  FAIL  events: rows equal  12 rows\n  PASS  faces: rows equal  12 rows\n1 failed, 1 passed\n',
  );
});

it('every command that a hint of the catalogue names exists', () => {
  const verbs = [...VERBS.map(({ name }) => name), '--help'];
  for (const [code, { hint }] of Object.entries(CATALOGUE)) {
    for (const [, verb = ''] of hint.matchAll(/`changeover ([\w-]+)/g))
      expect(verbs, `${code}: ${hint}`).toContain(verb);
  }
});
