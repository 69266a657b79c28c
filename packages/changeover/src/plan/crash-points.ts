/**
 * Every named crash point, grouped by folder. `npm run test:crash` kills a real process at each of them, forward and
 * in rollback, and fails when one is never reached.
 */
export const CRASH_POINTS = [
  // engine
  'engine.owner.locked',
  'engine.owner.recorded',
  'engine.run.created',
  'engine.step.planned',
  'engine.step.intended',
  'engine.step.acted',
  'engine.step.recorded',
  'engine.step.failed',
  'engine.undo.decided',
  'engine.undo.intended',
  'engine.undo.acted',
  'engine.undo.recorded',
  'engine.run.ended',
  'engine.authority.changing',
  'engine.authority.changed',
  'engine.unit.planned',
  'engine.unit.spawned',
  'engine.unit.recorded',
  'engine.unit.stopping',
  'engine.unit.stopped',
  // snapshot
  // config
  // data
  // cutover: `<STATE>.journaled` lies between the journal's write and the action, `<STATE>.done` right after the action
  'cutover.HOLD.journaled',
  'cutover.HOLD.done',
  'cutover.QUIESCE.journaled',
  'cutover.QUIESCE.done',
  'cutover.LOCK.journaled',
  'cutover.LOCK.done',
  'cutover.FENCE.journaled',
  'cutover.FENCE.done',
  'cutover.COMMIT_NEW.journaled',
  'cutover.OPEN.journaled',
  'cutover.OPEN.unfenced',
  'cutover.OPEN.done',
  'cutover.RELEASE.journaled',
  'cutover.RELEASE.done',
  'cutover.LIVE_NEW.journaled',
  'cutover.RB_REHEARSE.journaled',
  'cutover.RB_REHEARSE.done',
  'cutover.RB_HOLD.journaled',
  'cutover.RB_HOLD.done',
  'cutover.RB_LOCK.journaled',
  'cutover.RB_LOCK.done',
  'cutover.RB_FENCE.journaled',
  'cutover.RB_FENCE.done',
  'cutover.COMMIT_OLD.journaled',
  'cutover.RB_OPEN.journaled',
  'cutover.RB_OPEN.unfenced',
  'cutover.RB_OPEN.done',
  'cutover.RB_RELEASE.journaled',
  'cutover.RB_RELEASE.done',
  'cutover.LIVE_OLD.journaled',
  'cutover.revert.unfenced',
  'cutover.revert.restarted',
] as const;

export type CrashPoint = (typeof CRASH_POINTS)[number];
