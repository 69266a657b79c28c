export { document, type DocumentOptions, type DocumentTable } from './document.ts';
export { jsonFormat, pickleFormat, type DocumentFormat, type JsonValue } from './format.ts';
