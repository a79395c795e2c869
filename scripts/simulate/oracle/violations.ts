export type ViolationKind = 'false-alert' | 'missed-alert' | 'other';

export interface Violation {
  readonly kind: ViolationKind;
  readonly text: string;
}

const SHOWN = 20;

/** What was found wrong in one seed; the run goes on. */
export class Violations {
  readonly #counts: Record<ViolationKind, number> = { 'false-alert': 0, 'missed-alert': 0, other: 0 };
  readonly #shown: string[] = [];
  readonly #onViolation: (violation: Violation) => void;

  constructor(onViolation: (violation: Violation) => void) {
    this.#onViolation = onViolation;
  }

  add(kind: ViolationKind, text: string): void {
    this.#counts[kind] += 1;
    if (this.#shown.length < SHOWN) this.#shown.push(`${kind}: ${text}`);
    this.#onViolation({ kind, text });
  }

  count(kind: ViolationKind): number {
    return this.#counts[kind];
  }

  get total(): number {
    return Object.values(this.#counts).reduce((sum, count) => sum + count, 0);
  }

  get shown(): readonly string[] {
    return this.#shown;
  }
}
