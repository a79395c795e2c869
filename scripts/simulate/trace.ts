import { createHash } from 'node:crypto';

/** Everything that happened, in order, as one digest; the last lines are kept to be shown beside a violation. */
export class Trace {
  readonly #hash = createHash('sha256');
  readonly #recent: string[] = [];
  readonly #keep: number;
  readonly #now: () => number;
  readonly #show: ((line: string) => void) | undefined;

  constructor(options: { readonly now: () => number; readonly keep?: number; readonly show?: (line: string) => void }) {
    this.#now = options.now;
    this.#keep = options.keep ?? 0;
    this.#show = options.show;
  }

  note(text: string): void {
    const line = `${this.#now()} ${text}`;
    this.#hash.update(`${line}\n`);
    this.#show?.(line);
    if (this.#keep === 0) return;
    this.#recent.push(line);
    if (this.#recent.length > this.#keep) this.#recent.shift();
  }

  recent(): readonly string[] {
    return this.#recent;
  }

  digest(): string {
    return this.#hash.digest('hex');
  }
}
