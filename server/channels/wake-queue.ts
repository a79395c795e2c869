import type { Clock } from '../../lib/clock.js';
import { SHED_FROM } from '../../policies/herd-rules.js';
import type { WakeReason } from '../../protocol/channel-messages.js';

export interface WakeQueueDeps {
  readonly clock: Pick<Clock, 'sleep' | 'monotonic'>;
  /** Sends the request; false where the computer holds no channel any more. */
  readonly send: (computerId: string, reason: WakeReason) => boolean;
  /** The share of the report queue that is in use, 0 to 1. */
  readonly load: () => number;
}

/** Wakes agents in their order of asking, no more at a time than the ingest path takes in beside its heartbeats. */
export interface WakeQueue {
  add(computerIds: readonly string[], reason: WakeReason): void;
  /** The computer has reported, or is gone: its place is another's. */
  release(computerId: string): void;
  waiting(): number;
  stop(): Promise<void>;
}

/** Agents that were woken and have not reported yet. */
const AT_ONCE = 256;
const LOOK_AGAIN_MS = 20;
/**
 * Whoever does not report by then keeps nobody waiting: soon where the ingest path has little to do, since those of a
 * site that was just cut off, whose channels are not known to be gone yet, would hold up all others for minutes.
 */
const PATIENCE_MS = { idle: 250, busy: 3000 } as const;
/** Up to this share of the report queue the ingest path has little to do. */
const IDLE_SHARE = 0.1;

export function createWakeQueue(deps: WakeQueueDeps): WakeQueue {
  return new Queue(deps);
}

class Queue implements WakeQueue {
  readonly #deps: WakeQueueDeps;
  readonly #waiting = new Map<string, WakeReason>();
  /** Woken computers with the instant of it, oldest first. */
  readonly #woken = new Map<string, number>();
  readonly #stopping = new AbortController();
  #running: Promise<void> | undefined;

  constructor(deps: WakeQueueDeps) {
    this.#deps = deps;
  }

  add(computerIds: readonly string[], reason: WakeReason): void {
    for (const id of computerIds) this.#waiting.set(id, reason);
    this.#pump();
    if (this.#waiting.size > 0 && !this.#stopping.signal.aborted)
      this.#running ??= this.#run(this.#stopping.signal).finally(() => {
        this.#running = undefined;
      });
  }

  release(computerId: string): void {
    if (this.#woken.delete(computerId) && this.#waiting.size > 0) this.#pump();
  }

  waiting(): number {
    return this.#waiting.size;
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    this.#waiting.clear();
    await this.#running;
  }

  #pump(): void {
    const { clock, send, load } = this.#deps;
    for (const [id, reason] of this.#waiting) {
      if (this.#woken.size >= AT_ONCE || load() >= SHED_FROM.settings) return;
      this.#waiting.delete(id);
      if (!send(id, reason)) continue;
      this.#woken.delete(id);
      this.#woken.set(id, clock.monotonic());
    }
  }

  /** Looks again for as long as anybody waits: answers alone do not tell that the queue is empty again. */
  async #run(signal: AbortSignal): Promise<void> {
    while (this.#waiting.size > 0 && !signal.aborted) {
      await this.#deps.clock.sleep(LOOK_AGAIN_MS, signal).catch(() => undefined);
      this.#forgetLate();
      this.#pump();
    }
  }

  #forgetLate(): void {
    const { clock, load } = this.#deps;
    const late = clock.monotonic() - (load() < IDLE_SHARE ? PATIENCE_MS.idle : PATIENCE_MS.busy);
    for (const [id, wokenAt] of this.#woken) {
      if (wokenAt > late) return;
      this.#woken.delete(id);
    }
  }
}
