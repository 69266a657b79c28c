import { styleText } from 'node:util';
import type { ComparisonReport } from './client.ts';
import type { Kept } from './fingerprint.ts';

type Result = Readonly<Record<string, string | number>>;

/** What the demonstration says between the screens of the command line. */
export interface Stage {
  title(text: string): void;
  say(text: string): void;
  compared(side: string, report: ComparisonReport): void;
  kept(kept: Kept): void;
  result(result: Result, more: { readonly failures: readonly string[]; readonly gatewayHoldMs: number }): void;
}

export function createStage(isJson: boolean): Stage {
  return isJson ? jsonStage() : screenStage();
}

const write = (line: string) => process.stdout.write(`${line}\n`);

function jsonStage(): Stage {
  const emit = (event: object) => write(JSON.stringify(event));
  return {
    title: (text) => emit({ event: 'title', text }),
    say: (text) => emit({ event: 'say', text }),
    compared: (side, { writes, missing, duplicated, examples }) =>
      emit({ event: 'compared', side, writes, missing, duplicated, examples }),
    kept: ({ identical, problems }) => emit({ event: 'kept', identical, problems }),
    result(result, { failures }) {
      if (failures.length > 0) emit({ event: 'failures', failures });
      emit(result);
    },
  };
}

const LABELS: Readonly<Record<string, string>> = {
  requests: 'requests of the household',
  failed: 'of these failed',
  writesAcknowledged: 'writes acknowledged to it',
  writesMissing: 'of these missing',
  writesDuplicated: 'of these duplicated',
  rowsVerified: 'rows verified one by one',
  kills: 'kills with SIGKILL',
  rollbacks: 'rollbacks',
  maxHoldMs: 'longest wait of a request, ms',
  extraLatencyP99Ms: 'extra latency in switches, p99, ms',
  seconds: 'seconds in all',
};

function screenStage(): Stage {
  const bold = (text: string) => styleText('bold', text);
  const good = (text: string) => styleText('green', text);
  const bad = (text: string) => styleText('red', text);
  let chapter = 0;
  return {
    title(text) {
      chapter += 1;
      write(`\n${styleText('cyan', `── ${chapter}.`)} ${bold(text)}\n`);
    },
    say: (text) => write(styleText('dim', `   ${text}`)),
    compared(side, { writes, missing, duplicated, examples }) {
      const verdict =
        missing + duplicated === 0 ? good('all there, each once') : bad(`${missing} missing, ${duplicated} duplicated`);
      write(`   the household's ledger against the ${side}: ${writes} writes, ${verdict}`);
      for (const example of examples) write(`     ${example}`);
    },
    kept({ identical, problems }) {
      if (problems.length === 0)
        write(
          `   the legacy's files of before: ${good(`${identical} byte-identical with mode and time`)}, its log begins as it was`,
        );
      for (const problem of problems) write(`   ${bad(problem)}`);
    },
    result(result, { failures, gatewayHoldMs }) {
      write(`\n${styleText('cyan', '──')} ${bold('Measured by the household, not by the tool')}\n`);
      for (const [name, label] of Object.entries(LABELS)) {
        const value = result[name] ?? '';
        const shown = Number(value).toLocaleString('en').padStart(10);
        const isWrong = ['failed', 'writesMissing', 'writesDuplicated'].includes(name) && value !== 0;
        write(`   ${label.padEnd(38)}${isWrong ? bad(shown) : shown}`);
      }
      write(
        `   ${'(the gateway held for, ms)'.padEnd(38)}${Math.round(gatewayHoldMs).toLocaleString('en').padStart(10)}`,
      );
      for (const failure of failures) write(bad(`   failed: ${failure}`));
    },
  };
}
