import type { Logger } from '../observe/logs.ts';
import type { Overflow, SharedQueue } from './queue.ts';

export interface StageContext {
  /** Aborts when the item has had its time. */
  readonly signal: AbortSignal;
  readonly log: Logger;
  /** From 1. */
  readonly attempt: number;
}

export interface StageOptions<In, Out> {
  /**
   * One item. What it returns goes to the next stage; a list is several items, and undefined none. A result that comes after the item's time is
   * thrown away, so an item may be worked on twice: let the work be repeatable.
   */
  work(item: In, context: StageContext): Promise<Out | readonly Out[] | undefined> | Out | readonly Out[] | undefined;
  /** Items at the same time. Default 1. */
  readonly workers?: number;
  /** Items that wait before it. Default 100; 100,000 where they are on a disk. */
  readonly capacity?: number;
  /** Default `block`. */
  readonly overflow?: Overflow;
  /** Where `spill` writes. */
  readonly file?: string;
  /** Where the items wait, when several machines share them: `jetStreamQueue`. Default: in the memory of this process. */
  readonly queue?: SharedQueue<In>;
  /** Time of one attempt at one item. Default 30,000. */
  readonly timeoutMs?: number;
  /** Attempts at one item; then it has failed. Default 3. */
  readonly attempts?: number;
  /** Pause before another attempt; doubled each time. Default 100. */
  readonly retryMs?: number;
  /** Called when the stage is not needed any more. */
  close?(): Promise<void>;
}

export interface StageStatus {
  readonly name: string;
  readonly busy: number;
  readonly workers: number;
  readonly done: number;
  readonly failed: number;
  readonly retried: number;
  /** Items that had no more time. */
  readonly stuck: number;
  /** Milliseconds of the item that has been worked on the longest. */
  readonly oldestMs: number;
}
