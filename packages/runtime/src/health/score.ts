/** One reason for a score below 1. */
export interface Factor {
  readonly name: string;
  /** What the score is multiplied by, 0–1. */
  readonly factor: number;
  /** The figure behind it, in a sentence. */
  readonly because: string;
}

export interface Score {
  /** 1 is as good as it gets, 0 is of no use. */
  readonly score: number;
  readonly factors: readonly Factor[];
}

/** The product of all factors, with those that took something away. */
export function scoreOf(factors: readonly Factor[]): Score {
  const telling = factors.filter(({ factor }) => factor < 1);
  return { score: telling.reduce((product, { factor }) => product * Math.max(0, factor), 1), factors: telling };
}
