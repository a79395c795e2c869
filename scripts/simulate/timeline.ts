/** Something that is to happen at an instant. */
export interface Appointment {
  cancel(): void;
}

interface Entry {
  readonly at: number;
  readonly order: number;
  action: (() => void) | undefined;
}

/** More happenings than this at one instant are taken for a loop that never waits. */
const MOST_AT_ONE_INSTANT = 200_000;

/** Virtual time in whole milliseconds since the begin, and what is to happen; equal instants keep their order. */
export class Timeline {
  #now = 0;
  #order = 0;
  #steps = 0;
  #atThisInstant = 0;
  readonly #heap: Entry[] = [];

  get now(): number {
    return this.#now;
  }

  get steps(): number {
    return this.#steps;
  }

  at(instant: number, action: () => void): Appointment {
    const entry: Entry = { at: Math.max(this.#now, Math.ceil(instant)), order: (this.#order += 1), action };
    this.#push(entry);
    return { cancel: () => void (entry.action = undefined) };
  }

  after(ms: number, action: () => void): Appointment {
    return this.at(this.#now + Math.max(0, ms), action);
  }

  /** Lets everything happen that is due by `until`; `settle` resolves when nothing is pending any more. */
  async run(until: number, settle: () => Promise<void>): Promise<void> {
    await settle();
    for (let entry = this.#heap[0]; entry && entry.at <= until; entry = this.#heap[0]) {
      this.#pop();
      const { action } = entry;
      if (!action) continue;
      this.#moveTo(entry.at);
      this.#steps += 1;
      action();
      await settle();
    }
    this.#moveTo(until);
  }

  #moveTo(instant: number): void {
    this.#atThisInstant = instant === this.#now ? this.#atThisInstant + 1 : 0;
    if (this.#atThisInstant > MOST_AT_ONE_INSTANT) throw new Error(`Time stands still at ${this.#now}`);
    this.#now = instant;
  }

  #push(entry: Entry): void {
    const heap = this.#heap;
    let place = heap.push(entry) - 1;
    while (place > 0) {
      const parent = (place - 1) >>> 1;
      const above = heap[parent];
      if (!above || isBefore(above, entry)) break;
      heap[place] = above;
      place = parent;
    }
    heap[place] = entry;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (!last || heap.length === 0) return;
    let place = 0;
    for (;;) {
      const child = this.#earlierChild(place);
      const below = heap[child];
      if (!below || isBefore(last, below)) break;
      heap[place] = below;
      place = child;
    }
    heap[place] = last;
  }

  #earlierChild(place: number): number {
    const [left, right] = [this.#heap[2 * place + 1], this.#heap[2 * place + 2]];
    return left && right && isBefore(right, left) ? 2 * place + 2 : 2 * place + 1;
  }
}

function isBefore(a: Entry, b: Entry): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order);
}
