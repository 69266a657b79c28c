import { renderFindings, summarizeFindings } from './render/verdicts.ts';
import { SLICE, type Verb } from './verb.ts';

export const check: Verb = {
  name: 'check',
  summary: 'look whether a run could start; changes nothing',
  details:
    'Reads only: versions, rights, space, ports, settings without a target, lossy types, keys, health. Each finding comes with its remedy. Ends with 1 when something would stop a run.',
  options: [SLICE],
  isReading: true,
  examples: [
    { command: 'changeover check', does: 'look at everything the plan names' },
    { command: 'changeover check --json | tail -1', does: 'the findings for a script' },
  ],
  async run({ changeover, signal, screen }) {
    const findings = await changeover.check({ signal });
    const lines = renderFindings(screen, findings);
    return {
      exitCode: findings.some(({ level }) => level === 'error') ? 1 : 0,
      text: [...lines, ...(lines.length > 0 ? [''] : []), summarizeFindings(screen, findings)].join('\n'),
      result: { findings },
    };
  },
};
