import type { FleetInstant } from '../fleet-clock/fleet-clock.js';
import { shardOf } from '../shards/shard-rules.js';
import type { DialLane } from './dial-rules.js';
import { DueHeap } from './due-heap.js';

/** One computer that may have to be dialled; its place in a heap may be too early, never too late. */
interface Entry {
  readonly computerId: string;
  /** When it is to be looked at. */
  at: FleetInstant;
  /** Where it stands in its heap; a node that says otherwise is stale. */
  queuedAt: FleetInstant;
  queuedIn: DialLane | null;
  lane: DialLane;
  /** Looked at this much after the contact that a report's answer ordered. */
  marginMs: number;
  notBefore: FleetInstant;
  isInHand: boolean;
  isGone: boolean;
  /** Asked for since it was last taken: what failed before does not count. */
  askedAt: FleetInstant | null;
  /** Heard of while in hand: the contact that was ordered. */
  heardDueAt: FleetInstant | null;
  /** Hastened while in hand: looked at by then, whatever is heard. */
  hastenedAt: FleetInstant | null;
}

export interface Placing {
  readonly at: FleetInstant;
  readonly lane: DialLane;
  readonly marginMs: number;
}

export interface Taken {
  readonly computerId: string;
  readonly isAsked: boolean;
}

/**
 * When the computers of the owned shards are looked at next, in memory; what a look finds is in the database. Reports
 * move entries without touching the heaps.
 */
export class DialSchedule {
  readonly #shards = new Map<number, Map<string, Entry>>();
  readonly #heaps = { fast: new DueHeap<Entry>(), slow: new DueHeap<Entry>() };

  addShard(shard: number): void {
    if (!this.#shards.has(shard)) this.#shards.set(shard, new Map());
  }

  dropShard(shard: number): void {
    for (const entry of this.#shards.get(shard)?.values() ?? []) entry.isGone = true;
    this.#shards.delete(shard);
  }

  owns(computerId: string): boolean {
    return this.#shards.has(shardOf(computerId));
  }

  get size(): number {
    let size = 0;
    for (const entries of this.#shards.values()) size += entries.size;
    return size;
  }

  /** Places a computer of an owned shard; who is in hand is placed when it is settled. */
  place(computerId: string, { at, lane, marginMs }: Placing): void {
    const entry = this.#obtain(computerId);
    if (!entry || entry.isInHand) return;
    entry.marginMs = marginMs;
    entry.lane = lane;
    this.#move(entry, at);
  }

  /** A report was stored that ordered the next contact. */
  hear(computerId: string, contactDueAt: FleetInstant): void {
    const entry = this.#find(computerId);
    if (!entry) return;
    if (entry.isInHand) entry.heardDueAt = contactDueAt;
    else if (entry.askedAt === null) this.#move(entry, contactDueAt + entry.marginMs);
  }

  /** Something about a computer changed: look at once. */
  ask(computerId: string, at: FleetInstant): void {
    const entry = this.#obtain(computerId);
    if (!entry) return;
    entry.askedAt = at;
    if (!entry.isInHand) this.#move(entry, at);
  }

  /** Not later than `at`. */
  hasten(computerId: string, at: FleetInstant): void {
    const entry = this.#obtain(computerId);
    if (!entry) return;
    if (entry.isInHand) entry.hastenedAt = Math.min(at, entry.hastenedAt ?? at);
    else if (entry.at > at) this.#move(entry, at);
  }

  /** Takes those of a lane that are due, the earliest first; each is in hand until `settle` or `forget`. */
  take(at: FleetInstant, lane: DialLane, limit: number): Taken[] {
    const taken: Taken[] = [];
    while (taken.length < limit) {
      const entry = this.#first(lane);
      if (!entry || entry.at > at) break;
      this.#heaps[lane].pop();
      taken.push({ computerId: entry.computerId, isAsked: entry.askedAt !== null });
      Object.assign(entry, {
        queuedAt: Number.POSITIVE_INFINITY,
        queuedIn: null,
        isInHand: true,
        askedAt: null,
        heardDueAt: null,
        hastenedAt: null,
      });
    }
    return taken;
  }

  /** Gives back who was taken; what was heard or asked meanwhile counts, though not before `notBefore`. */
  settle(computerId: string, placing: Placing & { readonly notBefore?: FleetInstant }): void {
    const entry = this.#find(computerId);
    if (!entry) return;
    const { at, lane, marginMs, notBefore = Number.NEGATIVE_INFINITY } = placing;
    const heard = entry.heardDueAt === null ? at : entry.heardDueAt + marginMs;
    const wanted = Math.min(heard, entry.hastenedAt ?? heard);
    Object.assign(entry, { isInHand: false, lane, marginMs, notBefore, heardDueAt: null, hastenedAt: null });
    this.#move(entry, entry.askedAt ?? wanted);
  }

  /** There is no reason to dial it; asked for meanwhile, it is looked at once more. */
  forget(computerId: string): void {
    const entry = this.#find(computerId);
    if (!entry) return;
    if (entry.askedAt !== null)
      return this.settle(computerId, { at: entry.at, lane: entry.lane, marginMs: entry.marginMs });
    entry.isGone = true;
    this.#shards.get(shardOf(computerId))?.delete(computerId);
  }

  /** The earliest instant of a lane; infinite when nothing waits. */
  earliest(lane: DialLane): FleetInstant {
    return this.#first(lane)?.at ?? Number.POSITIVE_INFINITY;
  }

  #find(computerId: string): Entry | undefined {
    return this.#shards.get(shardOf(computerId))?.get(computerId);
  }

  #obtain(computerId: string): Entry | undefined {
    const entries = this.#shards.get(shardOf(computerId));
    const known = entries?.get(computerId);
    if (!entries || known) return known;
    const entry: Entry = {
      computerId,
      at: Number.POSITIVE_INFINITY,
      queuedAt: Number.POSITIVE_INFINITY,
      queuedIn: null,
      lane: 'fast',
      marginMs: 0,
      notBefore: Number.NEGATIVE_INFINITY,
      isInHand: false,
      isGone: false,
      askedAt: null,
      heardDueAt: null,
      hastenedAt: null,
    };
    entries.set(computerId, entry);
    return entry;
  }

  #move(entry: Entry, at: FleetInstant): void {
    entry.at = Math.max(at, entry.notBefore);
    // A later instant is found out when the place in the heap comes up; a change of lane leaves a stale node.
    if (entry.at < entry.queuedAt || entry.queuedIn !== entry.lane) this.#queue(entry);
  }

  #queue(entry: Entry): void {
    entry.queuedAt = entry.at;
    entry.queuedIn = entry.lane;
    this.#heaps[entry.lane].push(entry.at, entry);
  }

  /** The first entry whose place is true; stale places are dropped, early ones moved back. */
  #first(lane: DialLane): Entry | undefined {
    const heap = this.#heaps[lane];
    for (let node = heap.peek(); node; node = heap.peek()) {
      const { at, value: entry } = node;
      const isStale = entry.isGone || entry.isInHand || entry.queuedAt !== at || entry.queuedIn !== lane;
      if (!isStale && entry.at <= at) return entry;
      heap.pop();
      if (!isStale) this.#queue(entry);
    }
    return undefined;
  }
}
