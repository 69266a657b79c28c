export { log, type LogOptions, type LogStore } from './log.ts';
