import type { Breather } from '../../lib/breather.js';
import type { Ledger } from '../../policies/listening-ledger.js';
import { standingOf, windowOf, type Census, type Standing } from '../../policies/self-suspicion-rules.js';
import type { FleetInstant } from '../fleet-clock/fleet-clock.js';
import type { LivenessHint } from '../heartbeats/liveness-hints.js';
import { isFalling, judgeFromMemory } from './memory-judge.js';
import type { RuleGroups } from './rule-groups.js';
import { ShardMemory, type RememberedFacts } from './shard-memory.js';
import { shardOf } from '../shards/shard-rules.js';
import type { ShardClaim } from './verdict-shard-repository.js';
import { countRecords, readRecord, type PackedRecord } from './verdict-repository.js';

/** A computer whose stored verdict may be out of date. */
export interface Suspect {
  readonly computerId: string;
  readonly shard: number;
  readonly slot: number;
}

export interface OwnedShard extends ShardClaim {
  readonly memory: ShardMemory;
  isLoaded: boolean;
}

/** A suspect that was taken and never answered for is looked at again after this. */
const IN_HAND_MS = 1000;

/** The memory of all shards that this process owns. */
export class OwnedShards {
  readonly #shards = new Map<number, OwnedShard>();
  readonly #groups: RuleGroups;

  constructor(groups: RuleGroups) {
    this.#groups = groups;
  }

  /** A new claim begins with an empty memory, which hears reports while it is being loaded. */
  add(claim: ShardClaim): OwnedShard {
    const owned = { ...claim, memory: new ShardMemory(), isLoaded: false };
    this.#shards.set(claim.shard, owned);
    return owned;
  }

  drop(shard: number): void {
    this.#shards.delete(shard);
  }

  get(shard: number): OwnedShard | undefined {
    return this.#shards.get(shard);
  }

  all(): OwnedShard[] {
    return [...this.#shards.values()];
  }

  earliest(): FleetInstant {
    let earliest = Number.POSITIVE_INFINITY;
    for (const { memory, isLoaded } of this.#shards.values())
      if (isLoaded) earliest = Math.min(earliest, memory.earliest());
    return earliest;
  }

  heard(hint: LivenessHint, now: FleetInstant): void {
    const memory = this.#shards.get(shardOf(hint.computerId))?.memory;
    if (memory) memory.hear(memory.obtain(hint.computerId, now), hint);
  }

  reconsider(computerId: string, now: FleetInstant): void {
    const memory = this.#shards.get(shardOf(computerId))?.memory;
    if (!memory) return;
    const slot = memory.obtain(computerId, now);
    memory.markMustRead(slot, true);
    memory.hintAt(slot, now);
  }

  /**
   * The hints of these groups may be too late now. A late computer is read: its reason may change alone; so is one that
   * the manager dials, since by the silence alone it may seem to stay offline.
   */
  distrustGroups(groups: ReadonlySet<number>, now: FleetInstant): void {
    if (groups.size === 0) return;
    for (const { memory } of this.#shards.values())
      for (let slot = 0; slot < memory.size; slot += 1) {
        if (!groups.has(memory.groupOf(slot)) || memory.isGone(slot)) continue;
        const { status, isDialled } = memory.factsOf(slot);
        if (status === 'late' || (status === 'offline' && isDialled)) memory.markMustRead(slot, true);
        if (memory.hintOf(slot) > now) memory.hintAt(slot, now);
      }
  }

  /**
   * Takes due computers until `limit` suspects are found or `hasTime` says no. Those about which memory alone knows
   * that nothing changed get a later hint on the way.
   */
  takeSuspects(
    at: FleetInstant,
    ledger: Ledger,
    { limit, hasTime }: { limit: number; hasTime: () => boolean },
  ): Suspect[] {
    const suspects: Suspect[] = [];
    for (const owned of this.#shards.values()) {
      if (!owned.isLoaded) continue;
      while (suspects.length < limit && owned.memory.earliest() <= at && hasTime()) {
        const slot = owned.memory.first();
        if (slot === undefined) break;
        if (this.#isSuspect(owned.memory, slot, { at, ledger })) {
          owned.memory.markMustRead(slot, false);
          owned.memory.hintAt(slot, at + IN_HAND_MS);
          suspects.push({ computerId: owned.memory.idOf(slot), shard: owned.shard, slot });
        }
      }
    }
    return suspects;
  }

  #isSuspect(memory: ShardMemory, slot: number, { at, ledger }: { at: FleetInstant; ledger: Ledger }): boolean {
    if (memory.mustRead(slot)) return true;
    const facts = memory.factsOf(slot);
    const quiet = judgeFromMemory(facts, { settings: this.#groups.settingsOf(facts.group), ledger }, at);
    if (!quiet) return true;
    memory.hintAt(slot, quiet.until);
    return false;
  }

  countFalling(suspects: readonly Suspect[], at: FleetInstant, ledger: Ledger): number {
    return suspects.filter(({ shard, slot }) => {
      const memory = this.#shards.get(shard)?.memory;
      return memory !== undefined && this.#isFalling(memory, slot, { at, ledger });
    }).length;
  }

  #isFalling(memory: ShardMemory, slot: number, { at, ledger }: { at: FleetInstant; ledger: Ledger }): boolean {
    const facts = memory.factsOf(slot);
    return isFalling(facts, { settings: this.#groups.settingsOf(facts.group), ledger }, at);
  }

  /** How many computers there are, are about to be called silent, or fell silent within the window. */
  async census(at: FleetInstant, ledger: Ledger, breather: Breather): Promise<Census> {
    const counts: Record<Standing, number> = { 'in-contact': 0, falling: 0, fallen: 0, uncounted: 0 };
    const look = { windowMs: windowOf(this.#groups.longestIntervalMs()), now: ledger.listeningAt(at), at, ledger };
    let lostAt = Number.NEGATIVE_INFINITY;
    for (const { memory } of this.#shards.values())
      for (let slot = 0; slot < memory.size; slot += 1) {
        const facts = memory.factsOf(slot);
        const standing = this.#standingOf(memory, slot, { ...look, facts });
        counts[standing] += 1;
        if (standing === 'falling' || standing === 'fallen') lostAt = Math.max(lostAt, facts.lastSeenAt ?? lostAt);
        if (breather.isDue()) await breather.turn();
      }
    return { ...counts, lostAt };
  }

  #standingOf(memory: ShardMemory, slot: number, { windowMs, now, at, ledger, facts }: Look): Standing {
    const { status, lastSeenAt } = facts;
    if (lastSeenAt === null || memory.isGone(slot)) return 'uncounted';
    // Nothing about it can have changed before its hint; one that is in hand has one that is a little later.
    const mayBeDue = memory.hintOf(slot) <= at + IN_HAND_MS;
    const isOverdue = mayBeDue && this.#isFalling(memory, slot, { at, ledger });
    return standingOf({ status, isOverdue, silentForMs: now - ledger.listeningAt(lastSeenAt) }, windowMs);
  }

  heardSince(since: FleetInstant): number {
    let heard = 0;
    for (const { memory } of this.#shards.values()) heard += memory.countSeenAfter(since);
    return heard;
  }

  /** What the database said of a suspect. A report or a change that came meanwhile keeps its own, earlier hint. */
  settle(
    { shard, slot }: Suspect,
    facts: RememberedFacts,
    { at, until }: { at: FleetInstant; until: FleetInstant },
  ): void {
    const memory = this.#shards.get(shard)?.memory;
    if (!memory) return;
    const isNews = memory.learn(slot, facts);
    // Older than what memory heard: a report came after the proof, so nothing is due within its shortest wait.
    if (!memory.mustRead(slot)) memory.hintAt(slot, isNews ? until : at + IN_HAND_MS);
  }

  /** Looks at these again at `until`, in the database. */
  postpone(suspects: readonly Suspect[], until: FleetInstant): void {
    for (const { shard, slot } of suspects) {
      const memory = this.#shards.get(shard)?.memory;
      if (!memory || memory.isGone(slot)) continue;
      const isNews = memory.mustRead(slot);
      memory.markMustRead(slot, true);
      if (!isNews || memory.hintOf(slot) > until) memory.hintAt(slot, until);
    }
  }

  forget({ shard, slot }: Suspect): void {
    this.#shards.get(shard)?.memory.forget(slot);
  }

  /** Takes up a shard as read from the database after `readAt`; computers it no longer has are asked for once more. */
  learnShard(owned: OwnedShard, loaded: LoadedShard, readAt: FleetInstant): void {
    const { packed, overrides } = loaded;
    const { memory } = owned;
    const known = memory.size;
    const stamp = known === 0 ? 1 : memory.stampOf(0) + 1;
    const count = packed ? countRecords(packed) : 0;
    for (let index = 0; packed && index < count; index += 1) {
      const record = readRecord(packed, index);
      const slot = memory.obtainBytes(record.id, readAt);
      this.#learnRecord(memory, slot, {
        record,
        overrides,
        readAt,
        isNew: slot >= known && memory.stampOf(slot) === 0,
      });
      memory.setStamp(slot, stamp);
    }
    for (let slot = 0; slot < known; slot += 1)
      if (memory.stampOf(slot) !== stamp && !memory.isGone(slot)) {
        memory.setStamp(slot, stamp);
        memory.markMustRead(slot, true);
        memory.hintAt(slot, readAt);
      }
    owned.isLoaded = true;
  }

  #learnRecord(memory: ShardMemory, slot: number, { record, overrides, readAt, isNew }: RecordContext): void {
    const before = memory.factsOf(slot);
    const text = record.hasOverrides ? overrides.get(memory.idOf(slot)) : null;
    // Overrides that were set between the two statements: the database is asked for this one alone.
    if (text === undefined) return memory.hintAt(slot, Math.min(memory.hintOf(slot), readAt));
    const policyId = uuidText(record.policyId);
    const group = this.#groups.indexOf({ kind: record.kind, policyId, overrides: text });
    const { id: _id, policyId: _policyId, kind: _kind, hasOverrides: _own, ...remembered } = record;
    const facts = { ...remembered, group };
    memory.learn(slot, facts);
    if (isNew) memory.markMustRead(slot, false);
    if (isNew) memory.hintAt(slot, firstHint(facts, readAt));
    else if (!isSameFacts(before, facts)) memory.hintAt(slot, Math.min(memory.hintOf(slot), readAt));
  }
}

interface Look {
  readonly windowMs: number;
  /** Listening time at `at`. */
  readonly now: number;
  readonly at: FleetInstant;
  readonly ledger: Ledger;
  readonly facts: RememberedFacts;
}

export interface LoadedShard {
  readonly packed: Buffer | undefined;
  readonly overrides: ReadonlyMap<string, string>;
}

interface RecordContext {
  readonly record: PackedRecord;
  readonly overrides: ReadonlyMap<string, string>;
  readonly readAt: FleetInstant;
  /** Not heard of by a report or a change before. */
  readonly isNew: boolean;
}

/** No miss falls before the interval has passed and the next contact is due; spans and grace only put it off. */
function firstHint({ status, isSpecial, lastSeenAt, contactDueAt, intervalMs }: RememberedFacts, now: FleetInstant) {
  if (status !== 'online' || isSpecial || lastSeenAt === null) return now;
  return Math.max(lastSeenAt + intervalMs, contactDueAt ?? 0);
}

function isSameFacts(a: RememberedFacts, b: RememberedFacts): boolean {
  return (
    a.group === b.group &&
    a.status === b.status &&
    a.isSpecial === b.isSpecial &&
    a.isDialled === b.isDialled &&
    a.rulesSince === b.rulesSince &&
    a.intervalMs === b.intervalMs &&
    a.lastSeenAt === b.lastSeenAt &&
    a.contactDueAt === b.contactDueAt
  );
}

function uuidText(bytes: Buffer): string {
  const hex = bytes.toString('hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}
