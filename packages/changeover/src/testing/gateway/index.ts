export { AuthorityFile, openAuthorityFile } from './authority-file.ts';
export { type Backend, type Frame, readFrame, type SeenRequest, startBackend, writeFrame } from './backend.ts';
export { openRig, requestOn, type Rig, type RigOptions, type RigParts } from './rig.ts';
