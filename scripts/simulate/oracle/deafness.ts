import { joined, type Span } from './spans.js';
import type { Deafness } from './silence-bounds.js';

/**
 * When the manager could not have heard anybody, as only whoever injected the faults can know it. `certain` is what it
 * must count as deaf; `possible` is everything that it may, with the time around it that its proofs leave open.
 */
export class TrueDeafness {
  readonly #tickMs: number;
  #certain: Span[] = [];
  #possible: Span[] = [];
  readonly #excused = new Map<number, Span>();
  #open: { readonly kind: string; readonly from: number }[] = [];

  constructor(tickMs: number) {
    this.#tickMs = tickMs;
  }

  /** Something began that keeps the manager from listening, or from knowing that it did. */
  begin(kind: string, from: number): void {
    if (!this.#open.some((open) => open.kind === kind)) this.#open.push({ kind, from });
  }

  /** `certainFromMs`: it is certainly deaf when it lasted that long. */
  end(kind: string, until: number, certainFromMs: number): void {
    const begun = this.#open.find((open) => open.kind === kind);
    if (!begun) return;
    this.#open = this.#open.filter((open) => open !== begun);
    if (until - begun.from >= certainFromMs) this.#certain = joined([...this.#certain, { from: begun.from, until }]);
    this.#possible.push(this.#widened({ from: begun.from, until }));
  }

  /** Something was turned away, or nobody knows what became of it. */
  hiccup(at: number): void {
    const last = this.#possible.at(-1);
    const span = this.#widened({ from: at, until: at });
    if (last && span.from >= last.from && span.from <= last.until)
      this.#possible[this.#possible.length - 1] = { from: last.from, until: Math.max(last.until, span.until) };
    else this.#possible.push(span);
  }

  /** A time that the manager itself has excused, each one once. */
  excuse(span: Span): void {
    this.#excused.set(span.from, span);
  }

  deafness(): Deafness {
    const open = this.#open.map(({ from }) => this.#widened({ from, until: Number.POSITIVE_INFINITY }));
    const excused = [...this.#excused.values()].map((span) => this.#widened(span));
    const possible = [...this.#possible, ...excused, ...open].sort((a, b) => a.from - b.from);
    return { certain: this.#certain, possible };
  }

  /** How long a proof may be behind, and how long it takes until one is clean again. */
  #widened({ from, until }: Span): Span {
    return { from: from - this.#tickMs - 2000, until: until + 2 * this.#tickMs + 3000 };
  }
}
