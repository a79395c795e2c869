import { Worker } from 'node:worker_threads';
import type { Lifecycle } from '../../lib/lifecycle.js';
import type { Log } from '../../lib/log.js';
import type { SelfDialTarget } from './self-dial.js';

/** The other thread turns this often. */
export const TURN_MS = 100;
const HEAP_MIB = 32;

export interface WorkerInput {
  /** One counter, shared. */
  readonly turns: SharedArrayBuffer;
}

export interface DialOrder {
  readonly id: number;
  readonly target: SelfDialTarget;
  readonly timeoutMs: number;
}

export interface DialReport {
  /** Null when the handshake was completed. */
  readonly fault: string | null;
  /** By the other thread's clock. */
  readonly tookMs: number;
  /** The other thread did not run meanwhile: the fault says nothing. */
  readonly isVoid: boolean;
}

export interface DialAnswer extends DialReport {
  readonly id: number;
}

/** A second thread of this process, which goes on while the event loop stands still. */
export interface SelfDialler extends Lifecycle {
  /** Dials the agent port from outside the event loop; never rejects. */
  dial(target: SelfDialTarget, timeoutMs: number): Promise<DialReport>;
  /** For how long the thread has turned so far; undefined where it does not run. */
  turnedMs(): number | undefined;
}

const NO_THREAD: DialReport = { fault: 'no thread to dial from', tookMs: 0, isVoid: true };

export interface SelfDiallerDeps {
  readonly log: Log;
  /** Throws where the machine has no thread left. */
  readonly begin?: (input: WorkerInput) => Worker;
}

const beginWorker = (input: WorkerInput): Worker =>
  new Worker(new URL('./self-dial-worker.js', import.meta.url), {
    workerData: input,
    resourceLimits: { maxOldGenerationSizeMb: HEAP_MIB },
  });

export function createSelfDialler({ log, begin = beginWorker }: SelfDiallerDeps): SelfDialler {
  const turns = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT));
  const waiting = new Map<number, (report: DialReport) => void>();
  let worker: Worker | undefined;
  let isWanted = false;
  let lastId = 0;

  const lose = (lost: Worker, error?: unknown): void => {
    if (worker !== lost) return;
    worker = undefined;
    for (const answer of waiting.values()) answer(NO_THREAD);
    waiting.clear();
    if (isWanted) log.error({ err: error }, 'the thread that dials the own agent port ended');
  };

  const run = (): Worker => {
    const begun = begin({ turns: turns.buffer as SharedArrayBuffer });
    begun.on('message', ({ id, ...report }: DialAnswer) => {
      waiting.get(id)?.(report);
      waiting.delete(id);
    });
    begun.on('error', (error) => lose(begun, error));
    begun.on('exit', () => lose(begun));
    // It keeps no process alive that has nothing else to do.
    begun.unref();
    return begun;
  };

  const runAgain = (): Worker | undefined => {
    try {
      return run();
    } catch (error) {
      log.error({ err: error }, 'no thread begins that dials the own agent port');
      return undefined;
    }
  };

  return {
    async start() {
      isWanted = true;
      worker ??= run();
    },
    async stop() {
      isWanted = false;
      await worker?.terminate();
    },
    turnedMs: () => (worker ? Atomics.load(turns, 0) * TURN_MS : undefined),
    dial(target, timeoutMs) {
      const thread = isWanted ? (worker ??= runAgain()) : undefined;
      if (!thread) return Promise.resolve(NO_THREAD);
      return new Promise((resolve) => {
        lastId += 1;
        waiting.set(lastId, resolve);
        const order: DialOrder = { id: lastId, target, timeoutMs };
        thread.postMessage(order);
      });
    },
  };
}
