import { SLICE, DECLINED, exitCodeOf, standing, type Verb } from './verb.ts';

export const finish: Verb = {
  name: 'finish',
  summary: 'end the move: no rollback after this',
  details: 'Stops carrying writes back to the legacy and removes the capture from the stores. The new side serves on.',
  options: [SLICE],
  examples: [
    { command: 'changeover finish', does: 'show what it means, ask, and end the move' },
    { command: 'changeover finish --yes', does: 'without a question' },
  ],
  async run(call) {
    if (!(await call.ask('finish'))) return DECLINED;
    const outcome = await call.changeover.finish({ signal: call.signal });
    const isDone = outcome.status === 'finished';
    const { style } = call.screen;
    const headline = isDone
      ? `${style.good('✔')} Finished: the new side serves for good.`
      : `${style.warn('!')} Not finished.`;
    return {
      exitCode: isDone ? 0 : exitCodeOf(outcome.status) || 3,
      text: [headline, ...(await standing(call))].join('\n'),
      result: outcome,
    };
  },
};
