import { renderGateway } from './render/status.ts';
import type { Verb } from './verb.ts';

const ACTIONS = ['show', 'start', 'stop', 'hold', 'release'] as const;

export const traffic: Verb = {
  name: 'traffic',
  summary: 'show or drive the gateway',
  details:
    'show: its figures. start, stop: the gateway itself; stop drains it first, and clients then reach nobody. hold: park all requests until release, at most as long as the plan allows.',
  argument: { name: '[action]', description: 'what to do; show by default', choices: ACTIONS },
  isReading: true,
  examples: [
    { command: 'changeover traffic', does: 'requests in flight, held, completed, failed' },
    { command: 'changeover traffic hold', does: 'park all requests by hand' },
    { command: 'changeover traffic release', does: 'let them go on' },
  ],
  async run({ changeover, screen, args }) {
    const action = (args[0] ?? 'show') as (typeof ACTIONS)[number];
    const stats = await changeover.traffic(action);
    return {
      exitCode: 0,
      text:
        stats === null
          ? 'The gateway is not running: `changeover traffic start` starts it.'
          : renderGateway(screen, stats),
      result: { action, stats },
    };
  },
};
