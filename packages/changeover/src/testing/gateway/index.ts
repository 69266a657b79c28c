export { type Backend, type Frame, readFrame, writeFrame } from './backend.ts';
export { openRig, requestOn, type Rig, type RigOptions } from './rig.ts';
