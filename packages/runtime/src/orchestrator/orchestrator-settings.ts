import { z } from 'zod';
import { Settings } from '../config/settings.ts';

const percent = z.number().min(0).max(100);
const interval = z.number().min(1);
const seconds = z.number().min(0);

/** What an orchestrator is told, by the names that its users write into files and environments. Durations are seconds. */
export const orchestratorSettings = z.object({
  /** Between two looks at health, CPU and memory. */
  health_check_interval: interval.default(30),
  /** Between two writes of the metrics. */
  metrics_collection_interval: interval.default(60),
  /** Whether a system that ended in an error is built and started again. */
  auto_recovery_enabled: z.boolean().default(true),
  /** Within `restart_window_seconds`; one more is too many. */
  max_restart_attempts: z.int().min(0).default(3),
  /** From the end of a system to its next start. */
  restart_pause_seconds: seconds.default(5),
  /** At least that long from one restart to the next. */
  restart_cooldown_seconds: seconds.default(60),
  restart_window_seconds: seconds.default(3600),
  /** Percent of all cores of the machine. */
  cpu_threshold: percent.default(80),
  /** Percent of what the process may use: of the machine, or of its container. */
  memory_threshold: percent.default(85),
  /** Items that wait before one stage. */
  queue_backlog_threshold: z.int().min(0).default(100),
  alert_on_high_cpu: z.boolean().default(true),
  alert_on_high_memory: z.boolean().default(true),
  alert_on_errors: z.boolean().default(true),
  error_threshold_per_minute: z.int().min(0).default(10),
});

export type OrchestratorSettings = z.output<typeof orchestratorSettings>;

/** Names that the environment uses, by setting: for the `aliases` of `Settings.load`. */
export const ORCHESTRATOR_ENVIRONMENT = {
  health_check_interval: ['HEALTH_CHECK_INTERVAL'],
  auto_recovery_enabled: ['AUTO_RECOVERY_ENABLED'],
  max_restart_attempts: ['MAX_RESTART_ATTEMPTS'],
  cpu_threshold: ['CPU_THRESHOLD'],
  memory_threshold: ['MEMORY_THRESHOLD'],
} as const satisfies Partial<Record<keyof OrchestratorSettings, readonly string[]>>;

/** The defaults, with what the environment says. @throws RuntimeError RUN_CONFIG_INVALID. */
export function settingsOfEnvironment(
  environment: Readonly<Record<string, string | undefined>> = process.env,
): Settings<typeof orchestratorSettings> {
  return Settings.load({ schema: orchestratorSettings, aliases: ORCHESTRATOR_ENVIRONMENT, environment });
}
