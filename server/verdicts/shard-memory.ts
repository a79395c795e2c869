import { STATUSES, type Status } from '../statuses/status.js';
import type { FleetInstant } from '../fleet-clock/fleet-clock.js';
import { HintHeap } from './hint-heap.js';

/** What the owner of a shard remembers of one computer. */
export interface RememberedFacts {
  /** Null when never seen. */
  readonly lastSeenAt: FleetInstant | null;
  readonly contactDueAt: FleetInstant | null;
  /** 0 when neither an interval was confirmed nor one delivered. */
  readonly intervalMs: number;
  readonly group: number;
  readonly status: Status;
  readonly rulesSince: FleetInstant;
  /** A goodbye or a power state counts: only the database knows enough to judge. */
  readonly isSpecial: boolean;
  /** Only the manager dials it: memory knows the silence, the database whether dials failed. */
  readonly isDialled: boolean;
}

const NEVER = -1;
const ID_BYTES = 16;
const FIRST_CAPACITY = 64;

const MUST_READ = 1;
const SPECIAL = 2;
const GONE = 4;
const DIALLED = 8;

/**
 * The computers of one shard in typed arrays, some 80 bytes each, with a hint per computer: the instant before which
 * nothing about it can change. A hint may be too early, never too late.
 */
export class ShardMemory {
  #size = 0;
  #capacity = FIRST_CAPACITY;
  #ids = Buffer.alloc(FIRST_CAPACITY * ID_BYTES);
  /** Open addressing by the id's last bytes: slot + 1, 0 for a free place; at most half full. */
  #table = new Int32Array(FIRST_CAPACITY * 2);
  #lastSeen = new Float64Array(FIRST_CAPACITY);
  #contactDue = new Float64Array(FIRST_CAPACITY);
  #rulesSince = new Float64Array(FIRST_CAPACITY);
  #interval = new Int32Array(FIRST_CAPACITY);
  #group = new Int32Array(FIRST_CAPACITY);
  #stamp = new Int32Array(FIRST_CAPACITY);
  #status = new Uint8Array(FIRST_CAPACITY);
  #marks = new Uint8Array(FIRST_CAPACITY);
  readonly #heap = new HintHeap(FIRST_CAPACITY);
  readonly #key = Buffer.alloc(ID_BYTES);

  /** How many slots are in use, gone computers included. */
  get size(): number {
    return this.#size;
  }

  earliest(): FleetInstant {
    return this.#heap.earliest();
  }

  first(): number | undefined {
    return this.#heap.first();
  }

  find(id: string): number | undefined {
    this.#key.write(id.replaceAll('-', ''), 'hex');
    return this.#slotIn(this.#placeOf());
  }

  /** The slot of a computer; a new one must be read from the database before it can be judged. */
  obtain(id: string, hint: FleetInstant): number {
    this.#key.write(id.replaceAll('-', ''), 'hex');
    return this.#obtainKey(hint);
  }

  /** The same for an id of 16 bytes. */
  obtainBytes(id: Buffer, hint: FleetInstant): number {
    id.copy(this.#key);
    return this.#obtainKey(hint);
  }

  idOf(slot: number): string {
    const hex = this.#ids.toString('hex', slot * ID_BYTES, (slot + 1) * ID_BYTES);
    return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
  }

  groupOf(slot: number): number {
    return this.#group[slot] ?? 0;
  }

  factsOf(slot: number): RememberedFacts {
    return {
      lastSeenAt: toInstant(this.#lastSeen[slot]),
      contactDueAt: toInstant(this.#contactDue[slot]),
      intervalMs: this.#interval[slot] ?? 0,
      group: this.groupOf(slot),
      status: STATUSES[this.#status[slot] ?? 0] ?? 'pending',
      rulesSince: this.#rulesSince[slot] ?? 0,
      isSpecial: this.#has(slot, SPECIAL),
      isDialled: this.#has(slot, DIALLED),
    };
  }

  /** Takes what the database says; where a later report moved more, that is kept and the answer is false. */
  learn(slot: number, facts: RememberedFacts): boolean {
    this.#group[slot] = facts.group;
    this.#rulesSince[slot] = facts.rulesSince;
    this.#mark(slot, GONE, false);
    this.#mark(slot, DIALLED, facts.isDialled);
    if ((this.#lastSeen[slot] ?? NEVER) > (facts.lastSeenAt ?? NEVER)) return false;
    this.#lastSeen[slot] = facts.lastSeenAt ?? NEVER;
    this.#contactDue[slot] = facts.contactDueAt ?? NEVER;
    this.#interval[slot] = facts.intervalMs;
    this.#status[slot] = STATUSES.indexOf(facts.status);
    this.#mark(slot, SPECIAL, facts.isSpecial);
    return true;
  }

  /** A stored report: it ends goodbyes and stops. The hint moves only where it would be too late. */
  hear(slot: number, report: { lastSeenAt: FleetInstant; contactDueAt: FleetInstant; intervalMs: number }): void {
    if (report.lastSeenAt < (this.#lastSeen[slot] ?? NEVER)) return;
    this.#lastSeen[slot] = report.lastSeenAt;
    this.#contactDue[slot] = report.contactDueAt;
    this.#interval[slot] = report.intervalMs;
    this.#status[slot] = STATUSES.indexOf('online');
    this.#mark(slot, SPECIAL, false);
    const earliestMiss = Math.max(report.lastSeenAt + report.intervalMs, report.contactDueAt);
    if (earliestMiss < this.#heap.hintOf(slot)) this.#heap.set(slot, earliestMiss);
  }

  hintAt(slot: number, hint: FleetInstant): void {
    this.#heap.set(slot, hint);
  }

  hintOf(slot: number): FleetInstant {
    return this.#heap.hintOf(slot);
  }

  mustRead(slot: number): boolean {
    return this.#has(slot, MUST_READ);
  }

  markMustRead(slot: number, isNeeded: boolean): void {
    this.#mark(slot, MUST_READ, isNeeded);
  }

  /** The computer was deleted; the slot stays for the case that the id is heard of again. */
  forget(slot: number): void {
    this.#marks[slot] = GONE;
    this.#lastSeen[slot] = NEVER;
    this.#heap.set(slot, Number.POSITIVE_INFINITY);
  }

  isGone(slot: number): boolean {
    return this.#has(slot, GONE);
  }

  /** How many have reported after an instant. */
  countSeenAfter(instant: FleetInstant): number {
    let count = 0;
    for (let slot = 0; slot < this.#size; slot += 1) if ((this.#lastSeen[slot] ?? NEVER) > instant) count += 1;
    return count;
  }

  stampOf(slot: number): number {
    return this.#stamp[slot] ?? 0;
  }

  setStamp(slot: number, stamp: number): void {
    this.#stamp[slot] = stamp;
  }

  #has(slot: number, mark: number): boolean {
    return ((this.#marks[slot] ?? 0) & mark) !== 0;
  }

  #mark(slot: number, mark: number, isSet: boolean): void {
    const marks = this.#marks[slot] ?? 0;
    this.#marks[slot] = isSet ? marks | mark : marks & ~mark;
  }

  #slotIn(place: number): number | undefined {
    const entry = this.#table[place] ?? 0;
    return entry === 0 ? undefined : entry - 1;
  }

  #obtainKey(hint: FleetInstant): number {
    const known = this.#slotIn(this.#placeOf());
    if (known !== undefined) {
      if (this.isGone(known)) this.#revive(known, hint);
      return known;
    }
    if (this.#size === this.#capacity) this.#grow();
    const slot = this.#heap.add(hint);
    this.#key.copy(this.#ids, slot * ID_BYTES);
    this.#lastSeen[slot] = NEVER;
    this.#contactDue[slot] = NEVER;
    this.#marks[slot] = MUST_READ;
    this.#table[this.#placeOf()] = slot + 1;
    this.#size += 1;
    return slot;
  }

  #revive(slot: number, hint: FleetInstant): void {
    this.#marks[slot] = MUST_READ;
    this.#heap.set(slot, hint);
  }

  /** The place in the table that holds the key, or the free one where it belongs. */
  #placeOf(): number {
    const mask = this.#table.length - 1;
    let place = this.#key.readUInt32LE(ID_BYTES - 4) & mask;
    for (let slot = this.#slotIn(place); slot !== undefined; slot = this.#slotIn(place)) {
      if (this.#key.compare(this.#ids, slot * ID_BYTES, (slot + 1) * ID_BYTES) === 0) return place;
      place = (place + 1) & mask;
    }
    return place;
  }

  #grow(): void {
    const capacity = this.#capacity * 2;
    const enlarge = <T extends Float64Array | Int32Array | Uint8Array>(from: T, to: T): T => {
      (to as Uint8Array).set(from as Uint8Array);
      return to;
    };
    this.#ids = enlarge(this.#ids, Buffer.alloc(capacity * ID_BYTES));
    this.#lastSeen = enlarge(this.#lastSeen, new Float64Array(capacity));
    this.#contactDue = enlarge(this.#contactDue, new Float64Array(capacity));
    this.#rulesSince = enlarge(this.#rulesSince, new Float64Array(capacity));
    this.#interval = enlarge(this.#interval, new Int32Array(capacity));
    this.#group = enlarge(this.#group, new Int32Array(capacity));
    this.#stamp = enlarge(this.#stamp, new Int32Array(capacity));
    this.#status = enlarge(this.#status, new Uint8Array(capacity));
    this.#marks = enlarge(this.#marks, new Uint8Array(capacity));
    this.#heap.grow(capacity);
    this.#capacity = capacity;
    this.#rebuildTable();
  }

  #rebuildTable(): void {
    const wanted = Buffer.from(this.#key);
    this.#table = new Int32Array(this.#capacity * 2);
    for (let slot = 0; slot < this.#size; slot += 1) {
      this.#ids.copy(this.#key, 0, slot * ID_BYTES, (slot + 1) * ID_BYTES);
      this.#table[this.#placeOf()] = slot + 1;
    }
    wanted.copy(this.#key);
  }
}

function toInstant(value: number | undefined): FleetInstant | null {
  return value === undefined || value === NEVER ? null : value;
}
