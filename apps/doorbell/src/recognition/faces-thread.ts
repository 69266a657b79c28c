/** The program of the face thread, with a quick encoder for the faces that are cut out. */
import run, { encodeCropsWith } from '../../shared/faces-worker.ts';
import { turboJpeg } from './turbo-jpeg.ts';

encodeCropsWith(await turboJpeg());

export default run;
