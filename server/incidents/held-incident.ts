import { parseFactorKey } from '../../policies/incident-factors.js';
import type { FleetInstant } from '../fleet-clock/fleet-clock.js';
import { SilencePool, type SilentComputer } from './silence-pool.js';

/** Computers whose names an incident tells. */
const SAMPLE = 10;

export interface IncidentBeginning {
  readonly id: string;
  readonly factor: string;
  /** When the share that makes an incident was reached. */
  readonly raisedAt: FleetInstant;
  /** When the first of them fell silent. */
  readonly since: FleetInstant;
  readonly peak: number;
}

type Show = (at: FleetInstant) => string;

/** An open incident and the computers that are silent in it. */
export class HeldIncident {
  readonly id: string;
  readonly raisedAt: FleetInstant;
  readonly #pool = new SilencePool();
  /** Offline, and their alerts are not known to be held. */
  readonly #unheld = new Set<string>();
  #factor: string;
  #since: FleetInstant;
  #joinedAt: FleetInstant;
  #peak: number;
  #saved = '';

  constructor({ id, factor, raisedAt, since, peak }: IncidentBeginning) {
    this.id = id;
    this.raisedAt = raisedAt;
    this.#factor = factor;
    this.#since = since;
    this.#joinedAt = raisedAt;
    this.#peak = peak;
  }

  get factor(): string {
    return this.#factor;
  }

  get silent(): number {
    return this.#pool.size;
  }

  /** Whether a computer that fell silent belongs to what goes on here: later losses are news of their own. */
  isJoinedBy({ keys, since, freshUntil }: SilentComputer): boolean {
    const windowMs = freshUntil - since;
    return keys.includes(this.#factor) && since <= this.#joinedAt + windowMs && since >= this.raisedAt - windowMs;
  }

  add(computer: SilentComputer): void {
    computer.incidentId = this.id;
    this.#pool.add(computer);
    this.#since = Math.min(this.#since, computer.since);
    this.#joinedAt = Math.max(this.#joinedAt, computer.since);
    this.#peak = Math.max(this.#peak, this.#pool.size);
    if (computer.isOffline) this.#unheld.add(computer.computerId);
  }

  delete(computer: SilentComputer): void {
    this.#pool.delete(computer);
    this.#unheld.delete(computer.computerId);
  }

  noteOffline(computer: SilentComputer): void {
    this.#pool.noteOffline(computer);
    this.#unheld.add(computer.computerId);
  }

  widen(factor: string): void {
    this.#factor = factor;
  }

  computers(): SilentComputer[] {
    return this.#pool.all();
  }

  groups() {
    return this.#pool.groups(this.id);
  }

  unheld(limit: number): string[] {
    return [...this.#unheld].slice(0, limit).sort();
  }

  noteHeld(computerIds: readonly string[]): void {
    for (const computerId of computerIds) this.#unheld.delete(computerId);
  }

  sample(): string[] {
    return this.#pool.first(SAMPLE).map(({ computerId }) => computerId);
  }

  /** What is told of it as an incident of this factor, of which so many are alive; `show` renders an instant. */
  detail({ factor, alive }: { readonly factor: string; readonly alive: number }, show: Show): Record<string, unknown> {
    const named = parseFactorKey(factor);
    return {
      factor: named?.kind ?? factor,
      value: named?.value ?? '',
      of: alive + this.#pool.size,
      silent: this.#pool.size,
      children: this.#pool.offline,
      peak: this.#peak,
      since: show(this.#since),
    };
  }

  /** Whether the text differs from the one that was stored last. */
  isNews(text: string): boolean {
    return text !== this.#saved;
  }

  noteSaved(text: string): void {
    this.#saved = text;
  }
}
