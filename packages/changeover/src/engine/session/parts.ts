import type { ChangeoverEvent } from '../../plan/api.ts';
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
  const { journal, data, gateway, settings, plan, emit } = parts;
  return {
    journal: {
      authority: () => journal.authority(),
      get: (name) => journal.get(name),
      setAuthority: (version, change) => owner.setAuthority(version, change),
      put: (name, value) => owner.put(name, value),
    },
    data,
    gateway,
    settings,
    legacy: plan.legacy.units,
    writers: plan.legacy.writers,
    next: plan.next.units,
    limits: plan.cutover,
    emit,
  };
}
