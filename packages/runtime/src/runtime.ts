/** The public interface of `@changeover/runtime`, all of it. */
export { Secret, secret } from './config/secret.ts';
export { Settings, type DescribedSetting, type Layer, type Reload, type SettingsOptions } from './config/settings.ts';
export { CATALOGUE, RuntimeError, type ErrorCode } from './errors.ts';
export type { CheckOptions, HealthReport, HealthStatus } from './health/check.ts';
export { HealthMonitor, type HealthOf, type Prediction } from './health/monitor.ts';
export { scoreOf, type Factor, type Score } from './health/score.ts';
export { createHttp, type HttpOptions } from './http/create-http.ts';
export { envelopeOf, type ErrorEnvelope } from './http/envelope.ts';
export { healthRoutes } from './http/health-routes.ts';
export { httpService, type HttpServiceOptions } from './http/http-service.ts';
export { EventStream } from './http/stream.ts';
export { SYSTEM_CLOCK, type Clock } from './observe/clock.ts';
export { Events } from './observe/events.ts';
export { createLogger, type Logger } from './observe/logs.ts';
export { jetStreamQueue, type JetStreamOptions } from './nats/jet-stream-queue.ts';
export {
  Orchestrator,
  type Assembly,
  type Orchestrated,
  type OrchestratorEvents,
  type OrchestratorOptions,
} from './orchestrator/orchestrator.ts';
export {
  ORCHESTRATOR_ENVIRONMENT,
  orchestratorSettings,
  settingsOfEnvironment,
  type OrchestratorSettings,
} from './orchestrator/orchestrator-settings.ts';
export { LoadMeter, type Load } from './orchestrator/load.ts';
export type { SystemHealth, SystemPipelineStatus } from './orchestrator/system-health.ts';
export { Metrics, traced } from './observe/metrics.ts';
export { FrameRing, sharedFrame, type Frame } from './pipeline/frames.ts';
export type { Item, Outcome } from './pipeline/item.ts';
export { Pipeline, pipeline, type PipelineOptions, type PipelineStatus } from './pipeline/pipeline.ts';
export type { Overflow, Queue, QueueStatus, SharedQueue } from './pipeline/queue.ts';
export type { StageContext, StageOptions, StageStatus } from './pipeline/stage.ts';
export { Threads, type ThreadsOptions } from './pipeline/threads.ts';
export { AdaptiveLimit, type AdaptiveLimitOptions } from './security/adaptive-limit.ts';
export { Quota, type QuotaAnswer, type QuotaOptions } from './security/quotas.ts';
export {
  createRuntime,
  Runtime,
  type RuntimeEvents,
  type RuntimeOptions,
  type ServiceInfo,
} from './services/create-runtime.ts';
export type { RestartPolicy } from './services/restart.ts';
export {
  completed,
  healthy,
  service,
  started,
  type Condition,
  type Need,
  type Service,
  type ServiceContext,
  type ServiceOptions,
} from './services/service.ts';
