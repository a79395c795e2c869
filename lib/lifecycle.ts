/** Something that runs between `start` and `stop`; both may be called again and answer the same promise while running. */
export interface Lifecycle {
  start(): Promise<void>;
  stop(): Promise<void>;
}

/** Cleanup in reverse order of acquisition; goes on after a failure and rethrows the first one. */
export class CleanupStack {
  readonly #steps: { name: string; run: () => Promise<void> | void }[] = [];

  push(name: string, run: () => Promise<void> | void): void {
    this.#steps.push({ name, run });
  }

  async unwind(onError?: (name: string, error: unknown) => void): Promise<void> {
    let first: { error: unknown } | undefined;
    for (let step = this.#steps.pop(); step; step = this.#steps.pop()) {
      try {
        await step.run();
      } catch (error) {
        onError?.(step.name, error);
        first ??= { error };
      }
    }
    if (first) throw first.error;
  }
}

/** Makes an asynchronous action run once at a time: a call during a run answers that run's promise. */
export function shareRun(action: () => Promise<void>): () => Promise<void> {
  let running: Promise<void> | undefined;
  return () => {
    running ??= action().finally(() => {
      running = undefined;
    });
    return running;
  };
}
