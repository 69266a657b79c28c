/**
 * Finds faces and computes their 128-number encodings, in a worker thread: face-api on the WebAssembly backend of TensorFlow.js.
 * Models are loaded on the first picture; one instance per process.
 */
import { createRequire, registerHooks } from 'node:module';
import path from 'node:path';
import { type Box, cut, decodePicture, encodeJpeg, type Picture, scale, shrink } from './picture.ts';

/** A face in a picture. */
export interface Face {
  readonly box: Box;
  /** Certainty of the detector from 0 to 1. */
  readonly score: number;
  /** 128 numbers; two pictures of one person are less than about 0.6 apart. */
  readonly encoding: readonly number[];
  /** The face with a margin, as JPEG. */
  readonly crop: Uint8Array;
}

export interface Analysis {
  readonly width: number;
  readonly height: number;
  readonly faces: readonly Face[];
}

/** `analyse` finds faces; `normalise` makes a JPEG of any readable picture, enlarged where it is small; `warm` loads the models. */
export type FaceTask =
  | { readonly kind: 'warm' }
  | { readonly kind: 'analyse'; readonly image: Uint8Array }
  | { readonly kind: 'normalise'; readonly image: Uint8Array; readonly quality: number; readonly enlarge: boolean };

/** Longer side that is searched: the detector works on 512 pixels, and a face needs about 100 for a steady encoding. */
const MAX_SIDE = 800;
/** Pictures up to this side are tried as portraits first. */
const PORTRAIT_SIDE = 320;
/** Pictures whose shorter side is below the first are enlarged to the second. */
const SMALL_SIDE = 180;
const ENLARGED_SIDE = 220;
const CROP_QUALITY = 90;

interface Tensor {
  dispose(): void;
}
interface Found {
  readonly detection: { readonly box: Box; readonly score: number };
  readonly descriptor: Float32Array;
}
interface FaceApi {
  readonly tf: Record<string, (...args: unknown[]) => unknown> & {
    readonly Tensor: { readonly prototype: Record<string, unknown> };
    tensor3d(data: Uint8Array, shape: readonly number[], type: string): Tensor;
    setBackend(name: string): Promise<boolean>;
    ready(): Promise<void>;
  };
  readonly nets: Record<
    'ssdMobilenetv1' | 'tinyFaceDetector' | 'faceLandmark68Net' | 'faceRecognitionNet',
    { loadFromDisk(folder: string): Promise<void> }
  >;
  readonly SsdMobilenetv1Options: new (options: { minConfidence: number }) => object;
  readonly TinyFaceDetectorOptions: new (options: { inputSize: number; scoreThreshold: number }) => object;
  detectAllFaces(
    input: Tensor,
    options: object,
  ): { withFaceLandmarks(): { withFaceDescriptors(): PromiseLike<Found[]> } };
}

async function load(): Promise<FaceApi> {
  const require = createRequire(import.meta.url);
  // face-api asks for the union package of TensorFlow.js, three times the size of what it uses.
  registerHooks({
    resolve: (specifier, context, next) =>
      next(specifier === '@tensorflow/tfjs' ? '@tensorflow/tfjs-core' : specifier, context),
  });
  const wasm = require('@tensorflow/tfjs-backend-wasm') as { setWasmPaths(folder: string): void };
  const api = require('@vladmandic/face-api/dist/face-api.node-wasm.js') as FaceApi;
  chainOperations(api);
  const folderOf = (name: string) => path.dirname(require.resolve(`${name}/package.json`));
  wasm.setWasmPaths(path.join(folderOf('@tensorflow/tfjs-backend-wasm'), 'dist') + path.sep);
  await api.tf.setBackend('wasm');
  await api.tf.ready();
  const models = path.join(folderOf('@vladmandic/face-api'), 'model');
  await Promise.all(
    [api.nets.tinyFaceDetector, api.nets.ssdMobilenetv1, api.nets.faceLandmark68Net, api.nets.faceRecognitionNet].map(
      (net) => net.loadFromDisk(models),
    ),
  );
  return api;
}

/** The union package also puts these operations on the prototype of a tensor, where face-api calls them. */
function chainOperations({ tf }: FaceApi): void {
  const prototype = tf.Tensor.prototype;
  const chain = (method: string, operation: string, args: (self: { size: number }, rest: unknown[]) => unknown[]) => {
    prototype[method] ??= function (this: { size: number }, ...rest: unknown[]) {
      return tf[operation]?.(this, ...args(this, rest));
    };
  };
  for (const name of (
    'add sub mul div mean reshape expandDims squeeze cast clone transpose softmax concat slice pad avgPool max min relu sum ' +
    'equal gather exp matMul sqrt sigmoid stack argMax minimum maximum'
  ).split(' ')) {
    chain(name, name, (_, rest) => rest);
  }
  chain('as1D', 'reshape', (self) => [[self.size]]);
  for (const name of ['as2D', 'as3D', 'as4D', 'as5D']) chain(name, 'reshape', (_, shape) => [shape]);
  chain('asScalar', 'reshape', () => [[]]);
  chain('toFloat', 'cast', () => ['float32']);
  chain('toInt', 'cast', () => ['int32']);
}

/** An empty picture, which makes both detectors compile. */
const WARM_UP: Picture = { width: 64, height: 64, data: new Uint8Array(64 * 64 * 3) };

let loaded: Promise<FaceApi> | undefined;
let warmed: Promise<readonly Found[]> | undefined;

async function find(picture: Picture): Promise<readonly Found[]> {
  const api = await (loaded ??= load());
  const input = api.tf.tensor3d(picture.data, [picture.height, picture.width, 3], 'int32');
  const run = (options: object) => api.detectAllFaces(input, options).withFaceLandmarks().withFaceDescriptors();
  try {
    let small: Found[] = [];
    // The small detector takes a tenth of the time and is sure of one large face; whatever it is not sure of goes to the large one.
    if (Math.max(picture.width, picture.height) <= PORTRAIT_SIDE) {
      small = await run(new api.TinyFaceDetectorOptions({ inputSize: 160, scoreThreshold: 0.4 }));
      const only = small.length === 1 ? small[0] : undefined;
      if (only && only.detection.score >= 0.6 && only.detection.box.width >= picture.width / 4) return small;
    }
    const large = await run(new api.SsdMobilenetv1Options({ minConfidence: 0.5 }));
    return large.length ? large : small;
  } finally {
    input.dispose();
  }
}

/** JPEG of a part of a picture, `quality` from 1 to 100. */
export type EncodeCrop = (picture: Picture, quality: number) => Uint8Array;

let encodeCrop: EncodeCrop = encodeJpeg;

/** For a thread that has a quicker encoder; what is seen in a picture stays the same. */
export function encodeCropsWith(encode: EncodeCrop): void {
  encodeCrop = encode;
}

async function analyse(image: Uint8Array): Promise<Analysis> {
  const whole = decodePicture(image);
  const searched = shrink(whole, MAX_SIDE);
  const factor = whole.width / searched.width;
  const faces = (await find(searched)).map(({ detection: { box, score }, descriptor }) => {
    const there = { x: box.x * factor, y: box.y * factor, width: box.width * factor, height: box.height * factor };
    return {
      box: there,
      score,
      encoding: Array.from(descriptor),
      crop: encodeCrop(cut(whole, withMargin(there)), CROP_QUALITY),
    };
  });
  return { width: whole.width, height: whole.height, faces };
}

function withMargin({ x, y, width, height }: Box): Box {
  return { x: x - width * 0.25, y: y - height * 0.25, width: width * 1.5, height: height * 1.5 };
}

export default async function run(task: FaceTask): Promise<Analysis | Uint8Array | null> {
  if (task.kind === 'warm') {
    await (warmed ??= find(WARM_UP));
    return null;
  }
  if (task.kind === 'analyse') return analyse(task.image);
  const picture = decodePicture(task.image);
  const side = Math.min(picture.width, picture.height);
  return encodeJpeg(task.enlarge && side < SMALL_SIDE ? scale(picture, ENLARGED_SIDE / side) : picture, task.quality);
}
