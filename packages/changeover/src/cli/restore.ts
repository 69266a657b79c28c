import { renderSnapshots } from './render/report.ts';
import { cleanLine } from './render/text.ts';
import { plural } from './render/units.ts';
import { DECLINED, type Verb } from './verb.ts';

const SHOWN = 20;

export const restore: Verb = {
  name: 'restore',
  summary: 'put a snapshot back, and say what that loses',
  details:
    'Everything written since the snapshot is lost in what it covers: this is the last resort, and no rollback. Without an ID it lists the snapshots.',
  argument: { name: '[id]', description: 'the snapshot' },
  options: [{ flags: '--dry-run', description: 'say what it would lose; changes nothing' }],
  examples: [
    { command: 'changeover restore', does: 'list the snapshots' },
    { command: 'changeover restore 2026-11-21-101500 --dry-run', does: 'what would be lost' },
  ],
  async run(call) {
    const { changeover, screen, args, options } = call;
    const [id] = args;
    if (id === undefined) {
      const snapshots = await changeover.snapshots();
      return { exitCode: 0, text: renderSnapshots(screen, snapshots), result: { snapshots } };
    }
    const loss = await changeover.restore(id, { dryRun: true });
    const lost = lostLines(loss.lost);
    if (options['dryRun'] === true) {
      return {
        exitCode: 0,
        text: [`Would restore ${plural(loss.restored, 'file')}`, ...lost].join('\n'),
        result: loss,
      };
    }
    call.say(lost.join('\n'));
    if (!(await call.ask('restore'))) return DECLINED;
    const done = await changeover.restore(id, { signal: call.signal });
    return {
      exitCode: 0,
      text: `${screen.style.good('✔')} Restored ${plural(done.restored, 'file')} of ${cleanLine(id)}`,
      result: done,
    };
  },
};

function lostLines(lost: readonly string[]): string[] {
  if (lost.length === 0) return ['Nothing would be lost.'];
  const more = lost.length - SHOWN;
  return [
    `Lost would be ${plural(lost.length, 'change')}:`,
    ...lost.slice(0, SHOWN).map((line) => `  ${cleanLine(line)}`),
    ...(more > 0 ? [`  and ${more} more (--json lists all)`] : []),
  ];
}
