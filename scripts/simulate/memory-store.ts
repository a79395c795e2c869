import type { KeyRange, Store, StoreOperation } from '../../agent/spool/durable-store.js';
import type { SimulatedProcess } from './simulated-machine.js';

/** The disk of one computer: what was written survives a kill, what was synced survives a power failure. */
export class MemoryDisk {
  #written = new Map<string, string>();
  #synced = new Map<string, string>();

  open(process: SimulatedProcess): Store {
    const onDisk = <T>(action: () => T): Promise<T> => process.whileAlive(Promise.resolve().then(action));
    return {
      failure: undefined,
      write: (operations, { durable }) => onDisk(() => this.#write(operations, durable)),
      get: (key) => onDisk(() => this.#written.get(key)),
      scan: (range, visit) => onDisk(() => this.#scan(range, visit)),
      recover: async () => undefined,
    };
  }

  losePower(): void {
    this.#written = new Map(this.#synced);
  }

  #write(operations: readonly StoreOperation[], durable: boolean): void {
    for (const operation of operations)
      if (operation.type === 'put') this.#written.set(operation.key, operation.value);
      else this.#written.delete(operation.key);
    if (durable) this.#synced = new Map(this.#written);
  }

  #scan({ gte, lte }: KeyRange, visit: (key: string, value: string) => boolean): void {
    const keys = [...this.#written.keys()].filter((key) => key >= gte && key <= lte).sort();
    for (const key of keys) {
      const value = this.#written.get(key);
      if (value !== undefined && !visit(key, value)) return;
    }
  }
}
