import type { Authority } from '../../plan/authority.ts';
import type { ChangeoverEvent } from '../../plan/api.ts';
import type { Plan } from '../../plan/plan.ts';
import type { DataPort, GatewayPort, SettingsPort, Unit } from '../../plan/ports.ts';
import type { Json } from '../../plan/words.ts';
import type { AuthorityChange, Owner } from '../ownership.ts';

export type { AuthorityChange };

/** What the state machine needs of the journal: the owner's side of it. Every write checks the owner's epoch. */
export interface CutoverJournal {
  authority(): Authority;
  /** Compare-and-set on the version. `lease: null` ends the hold's lease; absent keeps it. */
  readonly setAuthority: Owner['setAuthority'];
  readonly put: Owner['put'];
  /** Null when nothing was put under that name. */
  get(name: string): Json;
}

/** Everything that takes part in a switch, wired from the plan. */
export interface CutoverParts {
  readonly journal: CutoverJournal;
  readonly data: DataPort;
  readonly gateway: GatewayPort;
  readonly settings: SettingsPort | null;
  readonly legacy: readonly Unit[];
  readonly writers: readonly Unit[];
  readonly next: readonly Unit[];
  /** False for a slice: then the units serve others too, whichever side has it. */
  readonly isWhole: boolean;
  readonly limits: Plan['cutover'];
  readonly emit: (event: ChangeoverEvent) => void;
}

/** Name under which the config stage leaves the hash of the source files. */
export const SETTINGS_HASH = 'settings.sourceHash';
/** Name under which the last rehearsal leaves how long the legacy took to boot. */
export const LEGACY_BOOT = 'legacy.bootMs';
