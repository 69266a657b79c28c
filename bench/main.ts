/**
 * What the product costs, each figure beside its goal: `npm run bench [-- NAME…] [--json] [--rows FACTOR]`. Every benchmark compares two things in one
 * run, as a lone number says nothing on a busy machine. With `--json` each ends in a line `{"bench":"gateway","figures":{…}}`.
 */
import { parseArgs } from 'node:util';

interface Figure {
  /** Name of the number in what the benchmark returns. */
  readonly name: string;
  readonly says: string;
  readonly unit: string;
  /** Absent where the figure is shown for comparison only. */
  readonly goal?: { readonly text: string; readonly isMet: (value: number) => boolean };
}

interface Benchmark {
  readonly about: string;
  readonly figures: readonly Figure[];
  /** @param factor Share of the work of a full run. */
  readonly run: (factor: number) => Promise<object>;
}

const below = (limit: number) => ({ text: `< ${limit}`, isMet: (value: number) => value < limit });
const atLeast = (limit: number) => ({ text: `>= ${limit}`, isMet: (value: number) => value >= limit });
const atMost = (limit: number) => ({ text: `<= ${limit}`, isMet: (value: number) => value <= limit });

const benchmarks: Readonly<Record<string, Benchmark>> = {
  journal: {
    about: 'one journaled step on SQLite with full sync',
    figures: [
      { name: 'stepMs', says: 'intent and outcome committed', unit: 'ms', goal: below(0.5) },
      { name: 'limitMs', says: 'two plain appends with fsync, the limit of this disk', unit: 'ms' },
    ],
    run: async () => (await import('./journal.ts')).benchJournal(),
  },
  gateway: {
    about: 'CPU time of the gateway for a small GET',
    figures: [
      { name: 'cpuVsDispatch', says: "against the bare forward of undici's dispatch", unit: 'x', goal: atMost(1.05) },
      { name: 'cpuVsHttpProxy3', says: 'against http-proxy-3', unit: 'x' },
    ],
    run: async () => (await import('./gateway.ts')).benchGateway(),
  },
  hold: {
    about: 'what clients feel of a cutover under 1,000 requests a second',
    figures: [
      { name: 'extraLatencyP99Ms', says: 'p99 of the extra latency', unit: 'ms', goal: below(100) },
      { name: 'maxHoldMs', says: 'longest hold', unit: 'ms' },
      { name: 'failed', says: 'failed requests', unit: '', goal: atMost(0) },
    ],
    run: async () => (await import('./hold.ts')).benchHold(),
  },
  data: {
    about: 'a move end to end, keys built and every row verified, against the best tool for each pair',
    figures: [
      {
        name: 'sqlitePostgresVsPgloader',
        says: 'SQLite to Postgres, faster than pgloader',
        unit: 'x',
        goal: atLeast(4),
      },
      {
        name: 'postgresPostgresVsPgcopydb',
        says: 'Postgres to Postgres, faster than pgcopydb',
        unit: 'x',
        goal: atLeast(1),
      },
      { name: 'mariadbPostgresVsPgloader', says: 'MariaDB to Postgres, faster than pgloader', unit: 'x' },
      { name: 'copyVsLimit', says: 'copy alone, against \\copy of ready text', unit: 'x', goal: atMost(2) },
      { name: 'peakMemoryMb', says: 'peak of the memory', unit: 'MB', goal: below(300) },
      {
        name: 'captureWriteOverhead',
        says: 'a small write of the legacy with capture, against one without',
        unit: 'x',
      },
      { name: 'verifyRowsPerSecond', says: 'rows verified', unit: '/s' },
    ],
    run: async (factor) => (await import('./data.ts')).benchData(factor),
  },
  progress: {
    about: 'by which share of the whole the time left of a copy is wrong, at half and nine tenths of it',
    figures: [
      { name: 'evenOff', says: 'rows of one size, the worst', unit: 'x', goal: below(0.25) },
      { name: 'unevenOff', says: 'large rows last or first, the worst', unit: 'x', goal: below(0.5) },
      { name: 'startOff', says: 'at one tenth, all tables, the worst', unit: 'x' },
      { name: 'unevenOffByRows', says: 'the same by rows alone', unit: 'x' },
    ],
    run: async (factor) => (await import('./progress.ts')).benchProgress(factor),
  },
  doorbell: {
    about: 'the new doorbell against the legacy one, pressed 1, 10 and 50 times a second',
    figures: [
      {
        name: 'pressToStoredSpeedup',
        says: 'from press to stored event, times faster',
        unit: 'x',
        goal: atLeast(1.43),
      },
      { name: 'cpuPerEventRatio', says: 'CPU time an event, times less', unit: 'x', goal: atLeast(1.33) },
      { name: 'memoryRatio', says: 'peak memory, times less', unit: 'x', goal: atLeast(1.33) },
      { name: 'storedShare', says: 'presses at 10 and 50/s that are events', unit: '', goal: atLeast(1) },
      { name: 'legacyStoredShare', says: 'the same of the legacy', unit: '' },
      { name: 'pressToMessageMs', says: 'from press to message, at 1/s', unit: 'ms' },
    ],
    run: async (factor) => (await import('./doorbell.ts')).benchDoorbell(factor),
  },
  runtime: {
    about: 'what the runtime adds to a process',
    figures: [
      { name: 'start50Ms', says: 'start of 50 services beyond their own work', unit: 'ms', goal: below(200) },
      { name: 'healthInProcessMs', says: 'an answer about the health, in the process', unit: 'ms', goal: below(1) },
      { name: 'healthOverSocketMs', says: 'the same over a socket', unit: 'ms', goal: below(1) },
      { name: 'requestsVsFastify', says: 'requests a second, against a bare Fastify', unit: 'x' },
    ],
    run: async () => (await import('./runtime.ts')).benchRuntime(),
  },
};

const names = Object.keys(benchmarks);
const usage = `usage: npm run bench [-- NAME…] [--json] [--rows FACTOR]   NAME: ${names.join(', ')}`;

function readArguments(): { readonly wanted: readonly string[]; readonly json: boolean; readonly factor: number } {
  try {
    const { values, positionals } = parseArgs({
      options: { json: { type: 'boolean' }, rows: { type: 'string', default: '1' } },
      allowPositionals: true,
    });
    const factor = Number(values.rows);
    if (!(factor > 0)) throw new Error(`--rows takes a factor above 0, not ${values.rows}`);
    const unknown = positionals.filter((name) => !names.includes(name));
    if (unknown.length > 0) throw new Error(`unknown benchmark: ${unknown.join(', ')}`);
    return { wanted: positionals.length > 0 ? positionals : names, json: values.json === true, factor };
  } catch (error) {
    console.error(`${error instanceof Error ? error.message : String(error)}\n${usage}`);
    return process.exit(2);
  }
}

function table(figures: readonly Figure[], measured: ReadonlyMap<string, unknown>): string {
  const rows = figures.map(({ name, says, unit, goal }) => {
    const value = measured.get(name);
    // A figure that was not measured meets no goal.
    const isMet = typeof value === 'number' && Number.isFinite(value) && goal?.isMet(value) === true;
    const verdict = goal === undefined ? '' : isMet ? 'met' : 'MISSED';
    const shown = typeof value === 'number' ? `${Number(value.toPrecision(4))} ${unit}`.trim() : 'not measured';
    return [says, shown, goal === undefined ? '' : `goal ${goal.text} ${unit}`.trim(), verdict];
  });
  const widths = [0, 1, 2, 3].map((column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  return rows
    .map((row) => `  ${row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join('  ')}`.trimEnd())
    .join('\n');
}

const { wanted, json, factor } = readArguments();
for (const name of wanted) {
  const benchmark = benchmarks[name];
  if (benchmark === undefined) continue;
  const figures = await benchmark.run(factor);
  console.log(`${name}: ${benchmark.about}\n${table(benchmark.figures, new Map(Object.entries(figures)))}`);
  if (json) console.log(JSON.stringify({ bench: name, figures }));
}
