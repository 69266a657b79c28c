import type { Stage } from '../changeover.ts';

export const BEFORE_THE_SWITCH = [
  'prepare',
  'backup',
  'config',
  'data',
  'integrate',
] as const satisfies readonly Stage[];
export const PAST_THE_SWITCH = ['cutover', 'validate', 'cleanup'] as const satisfies readonly Stage[];

export function isPastTheSwitch(stage: Stage): boolean {
  return PAST_THE_SWITCH.some((past) => past === stage);
}
