export { FilesSync } from './files-sync.ts';
