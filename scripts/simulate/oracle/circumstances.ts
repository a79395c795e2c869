/** A computer's record, read beside the product. */
export interface RecordRow {
  readonly id: string;
  readonly policy_id: string;
  readonly power_state: string;
  readonly power_since: number | null;
  readonly power_expires: number | null;
}

interface Placed {
  readonly policyId: string;
  readonly from: number;
}

/** A verdict that was begun before a move may be stored just after it. */
const OVERLAP_MS = 10_000;

/** What people have said of one computer: its policy, and whether its machine runs. */
export class Circumstances {
  #placed: Placed[] = [];
  #power: Pick<RecordRow, 'power_state' | 'power_since' | 'power_expires'> | undefined;

  read(row: RecordRow, at: number): void {
    this.#power = row;
    if (this.#placed.at(-1)?.policyId !== row.policy_id) this.#placed.push({ policyId: row.policy_id, from: at });
  }

  /** Its policy, and since when it is there. */
  get place(): Placed | undefined {
    return this.#placed.at(-1);
  }

  /** Every policy by which a verdict stored at this instant may judge it. */
  policiesAt(at: number): string[] {
    return this.#placed
      .filter((_placed, index) => (this.#placed[index + 1]?.from ?? Number.POSITIVE_INFINITY) > at - OVERLAP_MS)
      .map(({ policyId }) => policyId);
  }

  /** Until when its power state excuses a silence since `lastSeenAt`: a report means that it runs. */
  excusedUntil(lastSeenAt: number): number {
    const { power_state: state, power_since: since, power_expires: expires } = this.#power ?? {};
    if (since === null || since === undefined || since < lastSeenAt) return Number.NEGATIVE_INFINITY;
    return state === 'stopped' ? (expires ?? Number.POSITIVE_INFINITY) : since;
  }
}
