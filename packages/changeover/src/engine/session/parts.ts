import type { ChangeoverEvent, RunStatus, SliceStatus } from '../../plan/api.ts';
import type { Clock, Faults } from '../../plan/context.ts';
import type { Plan } from '../../plan/plan.ts';
import type { DataPort, GatewayPort, SettingsPort, SnapshotPort } from '../../plan/ports.ts';
import type { Json } from '../../plan/words.ts';
import type { CutoverParts } from '../cutover/parts.ts';
import type { Journal } from '../journal.ts';
import type { Owner } from '../ownership.ts';

/** One plan with everything that it is carried out with. Made by `changeover.ts`, the only place that knows the implementations. */
export interface Parts {
  readonly plan: Plan;
  readonly planHash: string;
  readonly planSpec: Json;
  readonly configFile: string;
  readonly root: string;
  readonly stateDir: string;
  /** The slice that all this is about; null for what belongs to none. */
  readonly slice: string | null;
  /** Where the journal is: the state folder, or the slice's part of it. */
  readonly journalDir: string;
  /** How every slice that was begun stands. Reads their journals. */
  readonly slices: () => readonly SliceStatus[];
  /** How the run of what belongs to no slice stands; null before it. */
  readonly restStatus: () => RunStatus | null;
  readonly journal: Journal;
  readonly data: DataPort;
  readonly gateway: GatewayPort;
  readonly settings: SettingsPort | null;
  readonly snapshot: SnapshotPort;
  readonly clock: Clock;
  readonly faults: Faults;
  readonly actor: string;
  readonly emit: (event: ChangeoverEvent) => void;
}

export function cutoverParts(parts: Parts, owner: Owner): CutoverParts {
  const { journal, data, gateway, settings, plan, emit, slice } = parts;
  return {
    journal: {
      authority: () => journal.authority(),
      get: (name) => journal.get(name),
      setAuthority: (version, change) => owner.setAuthority(version, change),
      put: (name, value) => owner.put(name, value),
    },
    data,
    gateway,
    // What belongs to no slice stays as it is when one goes its way: the legacy serves the others, and so do its writers.
    settings: slice === null ? settings : null,
    legacy: slice === null ? plan.legacy.units : [],
    writers: slice === null ? plan.legacy.writers : [],
    next: plan.next.units,
    isWhole: slice === null,
    limits: plan.cutover,
    emit,
  };
}
