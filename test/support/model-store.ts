import type { KeyRange, Store, StoreOperation } from '../../agent/spool/durable-store.js';

/** How a disk answers the next write: `torn` stores it whole and fails all the same, as where only its sync failed. */
export type DiskMood = 'well' | 'full' | 'torn';

/** A disk in memory that keeps to the contract of `DurableStore`: once a write failed none is tried until `recover`. */
export class ModelStore implements Store {
  readonly content = new Map<string, string>();
  /** Opened without the disk: it reads as empty. */
  isUnread = false;
  mood: DiskMood = 'well';
  failure: Error | undefined;
  /** Written to the log, and not to be read before it is opened again. */
  #unseen: readonly StoreOperation[] = [];

  write(operations: readonly StoreOperation[]): Promise<void> {
    if (this.failure) return Promise.reject(this.failure);
    if (this.mood === 'well') return Promise.resolve(this.#apply(operations));
    if (this.mood === 'torn') this.#unseen = operations;
    this.mood = 'full';
    this.failure = new Error('IO error: No space left on device');
    return Promise.reject(this.failure);
  }

  get(key: string): Promise<string | undefined> {
    return Promise.resolve(this.isUnread ? undefined : this.content.get(key));
  }

  scan({ gte, lte }: KeyRange, visit: (key: string, value: string) => boolean): Promise<void> {
    const keys = this.isUnread ? [] : [...this.content.keys()].filter((key) => key >= gte && key <= lte).toSorted();
    for (const key of keys) {
      const value = this.content.get(key);
      if (value !== undefined && !visit(key, value)) break;
    }
    return Promise.resolve();
  }

  recover(): Promise<undefined> {
    if (this.mood !== 'well') return Promise.reject(this.failure ?? new Error('No space left on device'));
    this.reopen();
    this.isUnread = false;
    return Promise.resolve(undefined);
  }

  /** Another process opens what is there, or cannot, where there is no room. */
  reopen(canRead = true): void {
    this.#apply(this.#unseen);
    this.#unseen = [];
    this.isUnread = this.mood !== 'well' && !canRead;
    this.failure = this.isUnread ? new Error('IO error: No space left on device') : undefined;
  }

  #apply(operations: readonly StoreOperation[]): void {
    for (const operation of operations)
      if (operation.type === 'put') this.content.set(operation.key, operation.value);
      else this.content.delete(operation.key);
  }
}
