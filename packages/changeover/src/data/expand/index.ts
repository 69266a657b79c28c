export { Expansions } from './expansions.ts';
