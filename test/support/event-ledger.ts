import type { ApiClient } from './api-client.js';

export interface ListedEvent {
  readonly id: string;
  readonly lane: string;
  readonly epoch: string;
  readonly sequence: number;
  readonly kind: string;
  readonly message: string;
}

/** Every item of a cursor paged list. */
export async function listAll<T>(api: ApiClient, path: string): Promise<T[]> {
  const items: T[] = [];
  let cursor: string | null = null;
  do {
    const separator = path.includes('?') ? '&' : '?';
    const page: { items: T[]; next: string | null } = await api.get(
      `${path}${separator}limit=500${cursor === null ? '' : `&cursor=${encodeURIComponent(cursor)}`}`,
    );
    items.push(...page.items);
    cursor = page.next;
  } while (cursor !== null);
  return items;
}

/** What is wrong with the stored events of one computer: doubles and holes per (lane, epoch). */
export function faultsOfEvents(events: readonly ListedEvent[]): string[] {
  const streams = new Map<string, number[]>();
  for (const { lane, epoch, sequence } of events) {
    const key = `${lane}/${epoch}`;
    streams.set(key, [...(streams.get(key) ?? []), sequence]);
  }
  return [...streams].flatMap(([key, sequences]) => {
    const sorted = sequences.toSorted((a, b) => a - b);
    return sorted.slice(1).flatMap((sequence, index) => {
      const step = sequence - (sorted[index] ?? sequence);
      if (step === 0) return [`${key}: ${sequence} twice`];
      return step === 1 ? [] : [`${key}: ${step - 1} missing before ${sequence}`];
    });
  });
}

/** Records of a stream that were stored before ones of lower sequence: ids tell the order of storing. */
export function faultsOfOrder(events: readonly ListedEvent[]): string[] {
  const newest = new Map<string, number>();
  return events
    .toSorted((one, other) => (one.id < other.id ? -1 : 1))
    .flatMap(({ lane, epoch, sequence }) => {
      const key = `${lane}/${epoch}`;
      const before = newest.get(key) ?? -1;
      newest.set(key, Math.max(before, sequence));
      return sequence > before || lane === 'manager' ? [] : [`${key}: ${sequence} after ${before}`];
    });
}
