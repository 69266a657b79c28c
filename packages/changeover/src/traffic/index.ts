export { createGateway, type Gateway, type TrafficStats } from './gateway.ts';
export { runSupervisor } from './supervisor.ts';
