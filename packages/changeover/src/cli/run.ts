import type { RunOutcome, Stage } from '../changeover.ts';
import { renderVerdicts, summarizeVerdicts } from './render/verdicts.ts';
import { BEFORE_THE_SWITCH, isPastTheSwitch, PAST_THE_SWITCH } from './stages.ts';
import {
  SLICE,
  DECLINED,
  exitCodeOf,
  standing,
  untold,
  UsageError,
  type Answer,
  type Call,
  type Verb,
} from './verb.ts';

export const run: Verb = {
  name: 'run',
  summary: 'do the move, or go on with it, up to ready',
  details:
    'Prepares, backs up, converts the settings, copies the data and starts the new side, while the legacy serves on. Killed or interrupted, the same command goes on from the journal. The sides are switched by `changeover cutover`, or here with --through.',
  options: [
    SLICE,
    {
      flags: '--until <stage>',
      description: 'stop after this stage',
      choices: [...BEFORE_THE_SWITCH, ...PAST_THE_SWITCH],
    },
    { flags: '--through', description: 'cut over too, once everything is ready' },
    {
      flags: '--max-rate <rate>',
      description:
        'read at most so much of the legacy in a second: 20MB, 500kB, 5000rows (default: what the plan says)',
    },
  ],
  examples: [
    { command: 'changeover run', does: 'everything up to the switch' },
    { command: 'changeover run --until backup', does: 'take the backup and stop' },
    { command: 'changeover run --max-rate 20MB', does: 'leave the rest of the disks to the legacy' },
    { command: 'changeover run --through --yes', does: 'the whole move without questions' },
  ],
  async run(call) {
    const until = call.options['until'] as Stage | undefined;
    const through = call.options['through'] === true;
    if (until !== undefined && isPastTheSwitch(until) && !through) {
      throw new UsageError(`--until ${until} lies behind the switch of the sides, which needs --through`, 'run');
    }
    if (!(await call.ask('run'))) return DECLINED;
    const { changeover, signal } = call;
    const maxRate = call.options['maxRate'] as string | undefined;
    const paced = { signal, ...(maxRate === undefined ? {} : { maxRate }) };
    const ready = await changeover.run({
      ...paced,
      ...(until === undefined || isPastTheSwitch(until) ? {} : { until }),
    });
    if (!through || ready.status !== 'ready' || (until !== undefined && !isPastTheSwitch(until)))
      return answer(call, ready, until);
    // Asked only now: what the cutover rests on has just been measured.
    if (!(await call.ask('cutover'))) return answer(call, ready);
    return answer(call, await changeover.run({ ...paced, through, ...(until === undefined ? {} : { until }) }));
  },
};

const WORDS: Readonly<Record<RunOutcome['status'], string>> = {
  ready: 'Ready: the legacy still serves, the new side is complete and waits.',
  live: 'Done: the new side serves, and the way back is open.',
  finished: 'Finished.',
  failed: 'Failed; what the run had added was removed again.',
  rolled_back: 'Rolled back: the legacy serves.',
  paused: 'Paused: the operator decides.',
  running: 'Stopped on the way; it can go on.',
};

async function answer(call: Call, outcome: RunOutcome, until?: Stage): Promise<Answer> {
  const { screen } = call;
  const verdicts = renderVerdicts(screen, untold(call, outcome.verdicts));
  const isAsked = until !== undefined && outcome.status === 'running' && !call.signal.aborted;
  const exitCode = isAsked ? 0 : exitCodeOf(outcome.status);
  const mark = {
    0: screen.style.good('✔'),
    1: screen.style.bad('✖'),
    2: screen.style.bad('✖'),
    3: screen.style.warn('!'),
  }[exitCode];
  return {
    exitCode,
    text: [
      ...verdicts,
      `${mark} ${isAsked ? `Done up to ${until}; \`changeover run\` goes on.` : WORDS[outcome.status]}  ${outcome.verdicts.length === 0 ? '' : summarizeVerdicts(screen, outcome.verdicts)}`.trimEnd(),
      ...(await standing(call)),
    ].join('\n'),
    result: outcome,
  };
}
