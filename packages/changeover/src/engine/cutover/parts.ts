import type { Authority } from '../../plan/authority.ts';
import type { ChangeoverEvent } from '../../plan/api.ts';
import type { Plan } from '../../plan/plan.ts';
import type { DataPort, GatewayPort, SettingsPort, Unit } from '../../plan/ports.ts';
import type { Json } from '../../plan/words.ts';

/** What the state machine needs of the journal: the owner's side of it. Every write checks the owner's epoch. */
export interface CutoverJournal {
  authority(): Authority;
  /** Compare-and-set on the version. `lease: null` ends the hold's lease; absent keeps it. */
  setAuthority(expectedVersion: number, change: AuthorityChange): Authority;
  put(name: string, value: Json): void;
  get(name: string): Json | undefined;
}

export interface AuthorityChange {
  readonly side?: Authority['side'];
  readonly state?: Authority['state'];
  readonly lease?: { readonly untilMs: number; readonly boot: string } | null;
  readonly reason?: string | null;
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
  readonly limits: Plan['cutover'];
  readonly emit: (event: ChangeoverEvent) => void;
}

/** Name under which the config stage leaves the hash of the source files. */
export const SETTINGS_HASH = 'settings.sourceHash';
/** Name under which the last rehearsal leaves how long the legacy took to boot. */
export const LEGACY_BOOT = 'legacy.bootMs';
