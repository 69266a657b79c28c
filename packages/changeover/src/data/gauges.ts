import { ChangeoverError } from '../errors.ts';
import type { Context } from '../plan/context.ts';
import type { OpenStore } from '../plan/stores.ts';
import { Replica } from './stores/mariadb/gauges.ts';
import type { Gauges } from './throttle.ts';

/** The replicas that the plan names, since their primaries do not tell about them. */
export class NamedReplicas {
  readonly #replicas: readonly Replica[];
  readonly #unseen = new Set<Replica>();

  constructor(urls: readonly string[]) {
    this.#replicas = urls.map((url) => new Replica(url));
  }

  /** One that cannot be asked holds nobody back, since nobody knows how it is; that is told once. */
  async lags(ctx: Context): Promise<{ store: string; ms: number }[]> {
    const lags: { store: string; ms: number }[] = [];
    for (const replica of this.#replicas) {
      try {
        lags.push({ store: replica.name, ms: await replica.lagMs() });
        this.#unseen.delete(replica);
      } catch (error) {
        if (!(error instanceof ChangeoverError)) throw error;
        if (!this.#unseen.has(replica)) ctx.report.warn(`the lag of a replica is not known: ${error.message}`);
        this.#unseen.add(replica);
      }
    }
    return lags;
  }

  async close(): Promise<void> {
    for (const replica of this.#replicas) await replica.close();
  }
}

/** A store as it is open now: one that is replaced meanwhile is opened anew by those who work on it, not by who looks. */
export interface Gauged {
  readonly identity: string;
  readonly table: string | undefined;
  readonly store: OpenStore;
}

/** Latency of the sources; lag of the replicas of both sides, since the target's have to follow what we write. */
export function gaugesOf(
  ctx: Context,
  { sources, targets }: { readonly sources: readonly Gauged[]; readonly targets: readonly Gauged[] },
  replicas: NamedReplicas,
): Gauges {
  const each = async (stores: readonly Gauged[], ask: (one: Gauged) => Promise<number | null> | undefined) => {
    const told: { store: string; ms: number }[] = [];
    for (const one of stores) {
      const ms = await ask(one);
      if (ms != null) told.push({ store: one.identity, ms });
    }
    return told;
  };
  return {
    latencies: () => each(sources, ({ store, table }) => (table === undefined ? undefined : store.latencyMs?.(table))),
    replicaLags: async () => [
      ...(await each([...sources, ...targets], ({ store }) => store.replicaLagMs?.())),
      ...(await replicas.lags(ctx)),
    ],
  };
}
