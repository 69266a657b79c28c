/**
 * What tests of plans, stores and moves are made of: throwaway processes, folders, ports and databases, conformance suites for
 * the ports of a plan, and `notes`, a small real service in a legacy and a new form.
 */
export { type Child, type ChildExit, type ChildOptions, isRunning, startChild } from './child.ts';
export { packageEnvironment, packageIsMissing } from './debian-package.ts';
export * from './notes/index.ts';
export { mariadbIsMissing, startMariadb, type ThrowawayMariadb } from './mariadb.ts';
export { natsIsMissing, startNats, type ThrowawayNats } from './nats.ts';
export { freePort } from './ports.ts';
export { startPostgres, type ThrowawayPostgres } from './postgres.ts';
export { type TempFolder, tempFolder } from './temp.ts';
