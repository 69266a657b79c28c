import { writeFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { renderReport } from './render/report.ts';
import { SLICE, type Verb } from './verb.ts';

export const plan: Verb = {
  name: 'plan',
  summary: 'show what a run would do; changes nothing',
  details:
    'Findings, settings with secrets hidden, tables with their rows, everything that is added to the systems, the pauses, and what a rollback cannot return.',
  options: [
    SLICE,
    { flags: '--full', description: 'show everything, each statement included' },
    { flags: '--out <file>', description: 'also write the report to a file, as JSON' },
  ],
  isReading: true,
  examples: [
    { command: 'changeover plan', does: 'the short form' },
    { command: 'changeover plan --full --out plan.json', does: 'everything, kept for a review' },
  ],
  async run({ changeover, signal, screen, options, cwd }) {
    const report = await changeover.plan({ signal });
    const { out } = options;
    if (typeof out === 'string') await writeFile(resolve(cwd, out), `${JSON.stringify(report, null, 2)}\n`);
    return {
      exitCode: report.findings.some(({ level }) => level === 'error') ? 1 : 0,
      text: renderReport(screen, report, options['full'] === true),
      result: { report },
    };
  },
};
