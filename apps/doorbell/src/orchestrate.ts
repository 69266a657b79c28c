import { Orchestrator, orchestratorSettings } from '@changeover/runtime';
import type { FastifyInstance } from 'fastify';
import { buildApp } from './app.ts';
import { LegacyAdapter, press } from './legacy-adapter.ts';
import { buildSystem, type OpenOptions, type System } from './system.ts';

/** What the doorbell can be told by name. */
const COMMANDS = {
  trigger_doorbell: press,
  get_system_status: ({ runtime }: System) => ({ state: runtime.state, services: runtime.services() }),
};

export interface OrchestrateOptions extends OpenOptions {
  /** Whether it answers HTTP, at `web_interface`. Default true. */
  readonly listens?: boolean;
  /** Called each time it begins to answer. */
  readonly onListening?: (app: FastifyInstance) => void;
}

export type Doorbell = Orchestrator<System, typeof COMMANDS, LegacyAdapter>;

/**
 * A whole doorbell: built, started, looked at, and built and started again where it ended in an error; with the interface that programs of the
 * legacy know.
 *
 * @example
 * const doorbell = orchestrate({ root: '/var/lib/doorbell' });
 * await doorbell.start();
 * await doorbell.trigger('trigger_doorbell');
 * const legacy = doorbell.getLegacyInterface();
 * await legacy.getRecentCaptures(5);
 */
export function orchestrate({ listens = true, onListening, ...options }: OrchestrateOptions): Doorbell {
  const settings = { current: orchestratorSettings.parse({}) };
  const serve = async (system: System) => {
    const app = await buildApp(system);
    try {
      await app.listen(system.settings.web_interface);
    } catch (error) {
      await app.close();
      throw error;
    }
    onListening?.(app);
    return app;
  };
  return new Orchestrator({
    build: async (previous: System | null) => {
      const system = await buildSystem({ ...options, previous, ...(listens && { serve }) });
      settings.current = system.settings.monitoring;
      return system;
    },
    commands: COMMANDS,
    legacyInterface: (orchestrated): LegacyAdapter => new LegacyAdapter(orchestrated),
    settings,
  });
}
