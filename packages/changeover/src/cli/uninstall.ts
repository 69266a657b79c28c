import { cleanLine } from './render/text.ts';
import { SLICE, DECLINED, type Verb } from './verb.ts';

export const uninstall: Verb = {
  name: 'uninstall',
  summary: 'remove everything that was added to the systems',
  details:
    'Triggers, tables and functions in the stores, the gateway, and the folder with the journal and the snapshots. The rows and settings of both sides stay. `changeover plan --full` lists it beforehand.',
  options: [SLICE],
  examples: [
    { command: 'changeover uninstall', does: 'show what it means, ask, and remove' },
    { command: 'changeover uninstall --yes', does: 'without a question' },
  ],
  async run(call) {
    if (!(await call.ask('uninstall'))) return DECLINED;
    const { removed } = await call.changeover.uninstall({ signal: call.signal });
    const { style } = call.screen;
    const lines = removed.map((line) => `  ${style.dim('-')} ${cleanLine(line)}`);
    const headline = removed.length === 0 ? 'There was nothing left to remove.' : `${style.good('✔')} Removed:`;
    return { exitCode: 0, text: [headline, ...lines].join('\n'), result: { removed } };
  },
};
