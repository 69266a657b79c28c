export { mariadb } from './mariadb.ts';
