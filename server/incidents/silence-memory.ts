import { FEWEST_SILENT, isIncidentOver, type SilentGroup } from '../../policies/incident-rules.js';
import type { FleetInstant } from '../fleet-clock/fleet-clock.js';
import { SHARD_COUNT, shardOf } from '../shards/shard-rules.js';
import { FactorCensus, type FactorKeys } from './factor-census.js';
import type { HeldIncident } from './held-incident.js';
import { SilencePool, type SilentComputer } from './silence-pool.js';

/** How a computer stands, as it was read. */
export interface Standing {
  readonly computerId: string;
  /** It could be silent: not stopped, excused, revoked or never seen. */
  readonly isCounted: boolean;
  readonly isSilent: boolean;
  readonly isOffline: boolean;
  readonly since: FleetInstant;
  readonly windowMs: number;
  readonly keys: FactorKeys;
}

/** What was stored of incidents when the memory began. */
export interface Remembered {
  readonly incidents: readonly HeldIncident[];
  /** By computer, the incident that holds its alert. */
  readonly childOf: ReadonlyMap<string, string>;
  /** Incidents that ended: what was silent then was released, and is not gathered again. */
  readonly ended: readonly { readonly factor: string; readonly closedAt: FleetInstant }[];
}

/** The silent computers and the open incidents. Moved by transitions; nothing here walks the fleet. */
export class SilenceMemory {
  readonly #census = new FactorCensus();
  readonly #silent = Array.from({ length: SHARD_COUNT }, () => new Map<string, SilentComputer>());
  /** Fell silent of late and belong to no incident. */
  readonly #fresh = new SilencePool();
  /** The fresh ones by the second in which they cease to be. */
  readonly #expiries = new Map<number, SilentComputer[]>();
  readonly #incidents = new Map<string, HeldIncident>();
  #remembered: Remembered | undefined;
  #isNews = false;

  constructor(remembered: Remembered) {
    this.#remembered = remembered;
    for (const incident of remembered.incidents) this.#incidents.set(incident.id, incident);
  }

  /** Everyone was read once: what was stored before says no more about who falls silent from now on. */
  settle(): void {
    this.#remembered = undefined;
  }

  /** Oldest first. */
  incidents(): HeldIncident[] {
    return [...this.#incidents.values()].sort((a, b) => a.raisedAt - b.raisedAt || (a.id < b.id ? -1 : 1));
  }

  aliveOf = (factor: string): number => this.#census.aliveOf(factor);

  /** Takes up a computer as it was read. */
  apply(standing: Standing, now: FleetInstant): void {
    const { computerId, isSilent, isOffline } = standing;
    const known = this.#shardOf(computerId).get(computerId);
    if (!isSilent) {
      if (known) this.#remove(known);
    } else if (!known) this.#insert(standing, now);
    // Said again and again: an alert that was raised anew meanwhile is held too.
    else if (isOffline) this.#noteOffline(known);
  }

  /** The computer is gone. */
  forget(computerId: string): void {
    const known = this.#shardOf(computerId).get(computerId);
    if (known) this.#remove(known);
  }

  /** Takes up a whole shard: everyone in it is in `standings`. */
  replaceShard(shard: number, standings: readonly Standing[], now: FleetInstant): void {
    const profiles = new Map<FactorKeys, number>();
    const gone = new Set(this.#silent[shard]?.keys());
    for (const standing of standings) {
      if (standing.isCounted) profiles.set(standing.keys, (profiles.get(standing.keys) ?? 0) + 1);
      if (standing.isSilent) gone.delete(standing.computerId);
      this.apply(standing, now);
    }
    for (const computerId of gone) this.forget(computerId);
    this.#census.replaceShard(shard, profiles);
    this.#isNews = true;
  }

  /** Those that fell silent too long ago count no more. */
  expire(now: FleetInstant): void {
    for (const [second, computers] of this.#expiries) {
      if (second * SECOND_MS > now) continue;
      this.#expiries.delete(second);
      for (const computer of computers) this.#fresh.delete(computer);
    }
  }

  /** The groups to look at anew; undefined while nothing can have become of them. */
  takeNews(): SilentGroup[] | undefined {
    const isWorthIt = this.#fresh.size >= FEWEST_SILENT || this.#incidents.size > 1;
    if (!this.#isNews || !isWorthIt) return undefined;
    this.#isNews = false;
    const held = [...this.#incidents.values()].flatMap((incident) => incident.groups());
    return [...this.#fresh.groups(null), ...held];
  }

  /** The fresh ones with a factor. */
  freshWith(factor: string): SilentComputer[] {
    return this.#fresh.with(factor);
  }

  open(incident: HeldIncident): void {
    this.#incidents.set(incident.id, incident);
    this.#gather(incident);
  }

  /** `kept` becomes an incident of this factor and takes over what the others hold. */
  widen(kept: HeldIncident, factor: string, others: readonly HeldIncident[]): void {
    kept.widen(factor);
    for (const other of others) {
      this.#incidents.delete(other.id);
      for (const computer of other.computers()) kept.add(computer);
    }
    this.#gather(kept);
  }

  /** What it held is on its own, and is not gathered again before it was heard. */
  close(incident: HeldIncident): void {
    this.#incidents.delete(incident.id);
    for (const computer of incident.computers()) computer.incidentId = null;
  }

  isOver(incident: HeldIncident): boolean {
    return isIncidentOver(incident.silent, incident.silent + this.aliveOf(incident.factor));
  }

  #gather(incident: HeldIncident): void {
    for (const computer of this.#fresh.with(incident.factor)) {
      this.#fresh.delete(computer);
      incident.add(computer);
    }
  }

  #insert({ computerId, since, windowMs, keys, isOffline }: Standing, now: FleetInstant): void {
    const freshUntil = since + windowMs;
    const computer: SilentComputer = { computerId, since, freshUntil, keys, isOffline, incidentId: null };
    this.#shardOf(computerId).set(computerId, computer);
    this.#census.moveSilent(keys, 1);
    const incident = this.#incidentFor(computer);
    if (incident) incident.add(computer);
    else if (freshUntil > now && !this.#wasReleased(computer)) this.#addFresh(computer);
    this.#isNews = true;
  }

  #addFresh(computer: SilentComputer): void {
    this.#fresh.add(computer);
    const second = Math.ceil(computer.freshUntil / SECOND_MS);
    const expiring = this.#expiries.get(second);
    if (expiring) expiring.push(computer);
    else this.#expiries.set(second, [computer]);
  }

  #incidentFor(computer: SilentComputer): HeldIncident | undefined {
    const known = this.#remembered?.childOf.get(computer.computerId);
    const holding = known === undefined ? undefined : this.#incidents.get(known);
    return holding ?? this.incidents().find((incident) => incident.isJoinedBy(computer));
  }

  #wasReleased({ keys, since }: SilentComputer): boolean {
    return (this.#remembered?.ended ?? []).some(({ factor, closedAt }) => since <= closedAt && keys.includes(factor));
  }

  #noteOffline(computer: SilentComputer): void {
    const incident = this.#incidentOf(computer);
    if (incident) incident.noteOffline(computer);
    else if (this.#fresh.has(computer)) this.#fresh.noteOffline(computer);
    else computer.isOffline = true;
  }

  #remove(computer: SilentComputer): void {
    this.#shardOf(computer.computerId).delete(computer.computerId);
    this.#census.moveSilent(computer.keys, -1);
    this.#fresh.delete(computer);
    this.#incidentOf(computer)?.delete(computer);
    this.#isNews = true;
  }

  #incidentOf({ incidentId }: SilentComputer): HeldIncident | undefined {
    return incidentId === null ? undefined : this.#incidents.get(incidentId);
  }

  #shardOf(computerId: string): Map<string, SilentComputer> {
    const silent = this.#silent[shardOf(computerId)];
    if (!silent) throw new RangeError('not the id of a computer');
    return silent;
  }
}

const SECOND_MS = 1000;
