import type { FastifyInstance } from 'fastify';
import { service, type Service, type ServiceContext, type ServiceOptions } from '../services/service.ts';
import { createHttp, type HttpOptions } from './create-http.ts';

export interface HttpServiceOptions
  extends Omit<HttpOptions, 'runtime'>, Pick<ServiceOptions<FastifyInstance>, 'needs' | 'critical' | 'restart'> {
  /** 0 for any that is free; `app.server.address()` tells. */
  readonly port: number;
  /** Address to listen on. Default `127.0.0.1`; `0.0.0.0` for a container. */
  readonly host?: string;
  /** Adds what it answers. */
  readonly routes: (app: FastifyInstance, context: ServiceContext) => void | Promise<void>;
}

/**
 * A service that answers HTTP: what `createHttp` makes, listening while the service runs. A stop lets the answers under way end.
 *
 * @example
 * const api = httpService('api', { port: 8080, needs: [database], routes: (app, { use }) => app.register(orders(use(database))) });
 */
export function httpService(name: string, options: HttpServiceOptions): Service<FastifyInstance> {
  const { port, host = '127.0.0.1', routes, needs, critical, restart, ...http } = options;
  return service(name, {
    ...(needs === undefined ? {} : { needs }),
    ...(critical === undefined ? {} : { critical }),
    ...(restart === undefined ? {} : { restart }),
    start: async (context) => {
      const app = await createHttp({ ...http, runtime: context.runtime });
      await routes(app, context);
      try {
        await app.listen({ port, host });
      } catch (error) {
        await app.close();
        throw error;
      }
      return app;
    },
    stop: (app) => app.close(),
    health: { check: (app) => app.server.listening },
  });
}
