import { Problem } from './problem.js';

export type Gate = <T>(action: () => Promise<T>) => Promise<T>;

export interface GateOptions {
  /** Actions that run at once. */
  readonly width: number;
  /** Actions that wait in line beside them. */
  readonly length: number;
  /** What is thrown to whoever finds the line full. */
  readonly refusal: () => Problem;
}

const BUSY_RETRY_SECONDS = 5;

/** The refusal that most give: `unavailable`. */
export function busy(detail: string): () => Problem {
  return () => new Problem('unavailable', { detail, retryAfterSeconds: BUSY_RETRY_SECONDS });
}

/** Lets few actions run at once and more wait in line, in their order; throws the refusal beyond. */
export function createGate({ width, length, refusal }: GateOptions): Gate {
  const line: (() => void)[] = [];
  let running = 0;
  return async (action) => {
    if (running >= width) {
      if (line.length >= length) throw refusal();
      // Who leaves hands its place on, so that nobody overtakes.
      await new Promise<void>((resolve) => line.push(resolve));
    } else running += 1;
    try {
      return await action();
    } finally {
      const next = line.shift();
      if (next) next();
      else running -= 1;
    }
  };
}
