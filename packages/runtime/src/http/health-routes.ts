import type { FastifyInstance } from 'fastify';
import { reasonOf } from '../errors.ts';
import type { HealthOf } from '../health/monitor.ts';
import type { Runtime } from '../services/create-runtime.ts';

/**
 * `/health` and what is below it: whether the process is alive (nothing but that it answers), whether it is ready (critical services), and
 * the state of all parts. Everything is answered from what was seen last.
 *
 * @param options.ready Asked for each `/health/ready`, for what must not be answered from memory: what it returns is in the answer, and what
 *   it throws is not ready.
 */
export function healthRoutes(
  app: FastifyInstance,
  runtime: Runtime,
  options: { readonly ready?: () => Promise<Readonly<Record<string, unknown>>> } = {},
): void {
  const { health } = runtime;
  const counts = (all: readonly HealthOf[]) => {
    const count = (status: HealthOf['status']) => all.filter((one) => one.status === status).length;
    return {
      total_services: all.length,
      healthy_services: count('healthy'),
      degraded_services: count('degraded'),
      unhealthy_services: count('unhealthy'),
    };
  };
  const services = () => Object.fromEntries(health.all().map((one) => [one.name, shown(one)]));

  app.get('/health', (_, reply) => {
    const all = health.all();
    const { score, factors } = health.score();
    const times = all.map(({ tookMs }) => tookMs);
    return reply.code(runtime.isReady() ? 200 : 503).send({
      system_status: health.overall(),
      state: runtime.state,
      timestamp: new Date().toISOString(),
      ...counts(all),
      average_response_time: seconds(times.reduce((sum, one) => sum + one, 0) / Math.max(times.length, 1)),
      performance_score: score,
      performance_factors: factors,
      services: services(),
    });
  });
  app.get('/health/live', () => ({ status: 'alive' }));
  app.get('/health/ready', async (_, reply) => {
    const waiting = runtime
      .services()
      .filter(({ isCritical, state }) => isCritical && state !== 'running' && state !== 'completed')
      .map(({ name }) => name);
    const unhealthy = health.all().filter((one) => one.isCritical && one.status === 'unhealthy');
    const reasons = unhealthy.map(({ name, reason }) => `${name}: ${reason ?? 'unhealthy'}`);
    let more = {};
    try {
      more = (await options.ready?.()) ?? {};
    } catch (error) {
      reasons.push(reasonOf(error));
    }
    const isReady = runtime.isReady() && reasons.length === 0;
    if (isReady) return { status: 'ready', ...more };
    return reply.code(503).send({ status: 'not ready', waiting_for: waiting, reasons, ...more });
  });
  app.get('/health/services', () => ({ services: services(), ...counts(health.all()), states: runtime.services() }));
  app.get<{ Params: { name: string } }>('/health/service/:name', ({ params }) => shown(health.of(params.name)));
  app.get('/health/metrics', () => {
    const all = health.all();
    const { score, factors } = health.score();
    return {
      performance_metrics: {
        total_response_time: seconds(all.reduce((sum, { tookMs }) => sum + tookMs, 0)),
        total_errors: all.reduce((sum, { failures }) => sum + failures, 0),
        performance_score: score,
        performance_factors: factors,
      },
      service_metrics: Object.fromEntries(
        all.map(({ name, tookMs, failures, looks, checkedAt }) => [
          name,
          { response_time: seconds(tookMs), error_count: failures, check_count: looks, last_check: isoOf(checkedAt) },
        ]),
      ),
    };
  });
  app.get('/health/predictive', () => {
    const found = health.predictions();
    return {
      predictive_alerts: Object.fromEntries(found.map(({ name, message }) => [name, [message]])),
      total_alerts: found.length,
      services_with_alerts: found.map(({ name }) => name),
    };
  });
}

function shown({ name, status, tookMs, checkedAt, details, needs, reason, isCritical }: HealthOf) {
  return {
    service_name: name,
    status,
    critical: isCritical,
    timestamp: isoOf(checkedAt),
    response_time: seconds(tookMs),
    details,
    dependencies: needs,
    errors: status === 'unhealthy' && reason !== null ? [reason] : [],
    warnings: status === 'degraded' && reason !== null ? [reason] : [],
  };
}

function seconds(ms: number): number {
  return Math.round(ms * 1000) / 1e6;
}

function isoOf(ms: number | null): string | null {
  return ms === null ? null : new Date(ms).toISOString();
}
