/** The checks that a plan can name: what must hold before and after the cutover. */
export { counts, rows } from './rows.ts';
export { http } from './http.ts';
export { isolation } from './isolation.ts';
