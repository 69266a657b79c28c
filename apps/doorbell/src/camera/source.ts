/** Gives a picture whenever it is asked for one. */
export interface StillSource {
  readonly kind: 'still';
  /** A JPEG; null or an error where it has none. */
  take(): Promise<Uint8Array | null>;
}

export interface Viewer {
  /** A JPEG; the bytes belong to the viewer. */
  frame(jpeg: Uint8Array): void;
  /** The same moment as a small grey picture, one byte a pixel, for those that asked for it. */
  grey?(pixels: Uint8Array): void;
}

/** Gives pictures all the time. An implementation must not assume that it is the only one that wants the device: it lets go of it at the abort. */
export interface StreamSource {
  readonly kind: 'stream';
  /** What is shown to people: an address without credentials, or a device. */
  readonly name: string;
  /** Resolves after the abort, when the device is free again; rejects with the reason when there are no more pictures. */
  play(viewer: Viewer, signal: AbortSignal): Promise<void>;
}

export type CameraSource = StillSource | StreamSource;
