import { toRfc3339 } from '../../lib/clock.js';
import type { Log } from '../../lib/log.js';
import type { Random } from '../../lib/random.js';
import { outageBeganAt, reviseIncidents, type Outage, type Widening } from '../../policies/incident-rules.js';
import type { AlertWriter } from '../alerts/alert.js';
import type { Sql } from '../database/sql.js';
import type { FleetClock, FleetInstant } from '../fleet-clock/fleet-clock.js';
import type { ClaimedJob } from '../scheduler/claimed-job.js';
import { SHARD_COUNT } from '../shards/shard-rules.js';
import type { Status } from '../statuses/status.js';
import { ChangeReader } from './change-reader.js';
import { HeldIncident } from './held-incident.js';
import { holdChildren, listUnreleasedIncidents, saveIncident } from './incident-repository.js';
import { CHILDREN, createIncidentWriter, type IncidentWriter } from './incident-writer.js';
import { ProfileInterner } from './profile-interner.js';
import { recallIncidents } from './recall-incidents.js';
import { ShardTurns } from './shard-turns.js';
import { SilenceMemory } from './silence-memory.js';
import { createStandingReader, type FindExcused, type StandingReader } from './standing-reader.js';
import type { StatusChange } from './standing-repository.js';

/** What names a policy and says where it hangs. */
export interface PolicyTree {
  policies(): ReadonlyMap<string, { readonly name: string; readonly parentId: string | null }>;
  onChange(listener: () => void): void;
}

export interface IncidentJobDeps {
  /** One of all managers looks for incidents at a time. */
  readonly job: ClaimedJob;
  /** Reads outside a transaction. */
  readonly sql: Sql;
  readonly fleetClock: Pick<FleetClock, 'fleet' | 'toWall' | 'toFleet' | 'monotonic'>;
  readonly random: Random;
  readonly log: Log;
  readonly alerts: AlertWriter;
  readonly policies: PolicyTree;
  /** Computers whose silence is meant; nobody's unless told. */
  readonly findExcused?: FindExcused;
}

export interface IncidentJob {
  /** Looks at what changed since the last run; does nothing while another process has the job. */
  run(signal: AbortSignal): Promise<void>;
  /** Gives the job back. */
  release(): Promise<void>;
}

const RENEW_EVERY_MS = 3000;
const COUNTED: readonly Status[] = ['online', 'late', 'offline'];

export function createIncidentJob(deps: IncidentJobDeps): IncidentJob {
  return new Job(deps);
}

/** Everything known under one claim of the job. */
interface Knowledge {
  readonly generation: number;
  readonly memory: SilenceMemory;
  readonly changes: ChangeReader;
  readonly turns: ShardTurns;
}

class Job implements IncidentJob {
  readonly #deps: IncidentJobDeps;
  readonly #writer: IncidentWriter;
  readonly #reader: StandingReader;
  #known: Knowledge | undefined;
  #renewAt = Number.NEGATIVE_INFINITY;

  constructor(deps: IncidentJobDeps) {
    this.#deps = deps;
    this.#writer = createIncidentWriter(deps);
    const profiles = new ProfileInterner((policyId) => ancestorsOf(policyId, deps.policies.policies()));
    deps.policies.onChange(() => profiles.clear());
    const findExcused = deps.findExcused ?? (async () => new Set<string>());
    this.#reader = createStandingReader({ ...deps, profiles, findExcused });
  }

  async run(signal: AbortSignal): Promise<void> {
    if (!(await this.#hold())) return;
    const known = this.#known ?? (await this.#begin(signal));
    if (!known || signal.aborted) return;
    await this.#follow(known);
    await known.turns.take(
      () => this.#deps.fleetClock.fleet(),
      (shard) => this.#readShard(known.memory, shard),
    );
    known.memory.expire(this.#deps.fleetClock.fleet());
    await this.#decide(known.memory, signal);
  }

  async release(): Promise<void> {
    this.#forget();
    await this.#deps.job.release();
  }

  /** Whether the job is this process's; asks now and then, and every write asks again. */
  async #hold(): Promise<boolean> {
    const { job, fleetClock } = this.#deps;
    const at = fleetClock.fleet();
    if (at < this.#renewAt) return this.#known !== undefined;
    this.#renewAt = at + RENEW_EVERY_MS;
    if (!(await job.run(async () => true))) this.#forget();
    else if (job.generation() !== this.#known?.generation) this.#known = undefined;
    return job.generation() !== undefined;
  }

  #forget(): void {
    this.#known = undefined;
  }

  /** Writes in one transaction under the claim; undefined when the job was lost. */
  async #write<T>(work: (sql: Sql) => Promise<T>): Promise<T> {
    const done = await this.#deps.job.run(work);
    if (done && (!this.#known || this.#deps.job.generation() === this.#known.generation)) return done.value;
    this.#forget();
    throw new Error('The job of incidents was taken by another process');
  }

  /** Reads the whole fleet once, shard by shard. */
  async #begin(signal: AbortSignal): Promise<Knowledge | undefined> {
    const { sql, fleetClock, job, log } = this.#deps;
    const generation = job.generation();
    if (generation === undefined) return undefined;
    for (const incidentId of await listUnreleasedIncidents(sql)) await this.#releaseAll(incidentId);
    const changes = new ChangeReader(sql, fleetClock);
    const memory = new SilenceMemory(await recallIncidents(sql, fleetClock));
    for (let shard = 0; shard < SHARD_COUNT; shard += 1) {
      if (signal.aborted || !(await this.#keepClaim(generation))) return undefined;
      await this.#readShard(memory, shard);
    }
    memory.settle();
    log.debug({ incidents: memory.incidents().length }, 'incidents are looked for');
    this.#known = { generation, memory, changes, turns: new ShardTurns() };
    return this.#known;
  }

  async #keepClaim(generation: number): Promise<boolean> {
    const at = this.#deps.fleetClock.fleet();
    if (at < this.#renewAt) return true;
    this.#renewAt = at + RENEW_EVERY_MS;
    await this.#deps.job.run(async () => true);
    return this.#deps.job.generation() === generation;
  }

  async #readShard(memory: SilenceMemory, shard: number): Promise<void> {
    const standings = await this.#reader.ofShard(shard);
    memory.replaceShard(shard, standings, this.#deps.fleetClock.fleet());
  }

  /** Takes up what changed since the last run. */
  async #follow({ memory, changes, turns }: Knowledge): Promise<void> {
    const found = await changes.read();
    const ids = [...new Set(found.map((change) => change.computer_id))].sort();
    const standings = await this.#reader.of(ids);
    const now = this.#deps.fleetClock.fleet();
    const present = new Set(standings.map(({ computerId }) => computerId));
    for (const standing of standings) memory.apply(standing, now);
    for (const computerId of ids) if (!present.has(computerId)) memory.forget(computerId);
    for (const change of found) if (changesWhoCounts(change)) turns.noteChanged(change.computer_id);
    for (const { computerId, isCounted } of standings) if (!isCounted) turns.noteChanged(computerId);
  }

  async #decide(memory: SilenceMemory, signal: AbortSignal): Promise<void> {
    for (const incident of memory.incidents()) if (memory.isOver(incident)) await this.#end(memory, incident);
    const groups = memory.takeNews();
    if (groups) {
      const { opened, widened } = reviseIncidents(memory.incidents(), groups, memory.aliveOf);
      for (const widening of widened) await this.#widen(memory, widening);
      for (const outage of opened) await this.#open(memory, outage);
    }
    for (const incident of memory.incidents()) {
      await this.#holdChildren(incident, signal);
      await this.#tell(memory, incident);
    }
  }

  async #open(memory: SilenceMemory, { factor, explained, exceptions }: Outage): Promise<void> {
    const silences = memory.freshWith(factor).map(({ since }) => since);
    if (silences.length === 0) return;
    const raisedAt = outageBeganAt(silences, explained + exceptions);
    const since = silences.reduce((first, one) => Math.min(first, one));
    const beginning = { factor, raisedAt, since, peak: silences.length };
    const detail = this.#detail(new HeldIncident({ ...beginning, id: '' }), exceptions);
    const id = await this.#write((sql) => this.#writer.open(sql, { factor, raisedAt, detail }));
    memory.open(new HeldIncident({ ...beginning, id }));
    this.#deps.log.warn(
      { incidentId: id, factor, silent: explained, of: explained + exceptions },
      'a mass outage began',
    );
  }

  /** The kept incident is renamed in the transaction that ends those it takes over. */
  async #widen(memory: SilenceMemory, { into, incidentIds }: Widening): Promise<void> {
    const byId = new Map(memory.incidents().map((incident) => [incident.id, incident]));
    const [kept, ...others] = incidentIds.flatMap((id) => byId.get(id) ?? []);
    if (!kept) return;
    const at = this.#deps.fleetClock.fleet();
    const factor = into.factor;
    await this.#write(async (sql) => {
      for (const other of others)
        await this.#endOne(sql, other, { at, alive: memory.aliveOf(other.factor), into: kept.id });
      const detail = this.#detail(kept, memory.aliveOf(factor), factor);
      await saveIncident(sql, { id: kept.id, subject: factor, detail, sample: kept.sample() });
    });
    memory.widen(kept, factor, others);
    this.#deps.log.warn({ incidentId: kept.id, factor, replaces: others.length }, 'a mass outage grew');
  }

  /** Its children first: once it is over nothing may be held by it. */
  async #end(memory: SilenceMemory, incident: HeldIncident): Promise<void> {
    await this.#releaseAll(incident.id);
    const at = this.#deps.fleetClock.fleet();
    await this.#write((sql) => this.#endOne(sql, incident, { at, alive: memory.aliveOf(incident.factor) }));
    memory.close(incident);
    this.#deps.log.info({ incidentId: incident.id, silent: incident.silent }, 'a mass outage ended');
  }

  async #endOne(sql: Sql, incident: HeldIncident, { at, alive, into }: Ending): Promise<void> {
    const detail = { ...this.#detail(incident, alive), ...(into === undefined ? {} : { continuedBy: into }) };
    await this.#writer.end(sql, { id: incident.id, factor: incident.factor, detail, sample: incident.sample(), at });
  }

  async #releaseAll(incidentId: string): Promise<void> {
    const at = this.#deps.fleetClock.fleet();
    while (await this.#write((sql) => this.#writer.release(sql, incidentId, at)));
  }

  async #holdChildren(incident: HeldIncident, signal: AbortSignal): Promise<void> {
    for (let ids = incident.unheld(CHILDREN); ids.length > 0; ids = incident.unheld(CHILDREN)) {
      if (signal.aborted) return;
      const chunk = ids;
      await this.#write((sql) => holdChildren(sql, incident.id, chunk));
      incident.noteHeld(chunk);
    }
  }

  async #tell(memory: SilenceMemory, incident: HeldIncident): Promise<void> {
    const { id, factor: subject } = incident;
    const detail = this.#detail(incident, memory.aliveOf(subject));
    const text = JSON.stringify([subject, detail]);
    if (!incident.isNews(text)) return;
    const sample = incident.sample();
    if (await this.#write((sql) => saveIncident(sql, { id, subject, detail, sample }))) incident.noteSaved(text);
    else memory.close(incident);
  }

  #detail(incident: HeldIncident, alive: number, factor = incident.factor): Record<string, unknown> {
    const { fleetClock, policies } = this.#deps;
    const detail = incident.detail({ factor, alive }, (at) => toRfc3339(fleetClock.toWall(at)));
    const name = String(detail['factor']).startsWith('policy')
      ? policies.policies().get(String(detail['value']))?.name
      : undefined;
    return name === undefined ? detail : { ...detail, name };
  }
}

interface Ending {
  readonly at: FleetInstant;
  readonly alive: number;
  /** The incident that goes on in its place. */
  readonly into?: string;
}

function changesWhoCounts({ status, previous_status }: StatusChange): boolean {
  return COUNTED.includes(status) !== COUNTED.includes(previous_status);
}

function ancestorsOf(policyId: string, policies: ReturnType<PolicyTree['policies']>): string[] {
  const ancestors: string[] = [];
  for (let id = policies.get(policyId)?.parentId; id; id = policies.get(id)?.parentId) ancestors.push(id);
  return ancestors;
}
