import type { Clock } from '../lib/clock.js';
import { shareRun } from '../lib/lifecycle.js';
import type { Log } from '../lib/log.js';
import type { Random } from '../lib/random.js';
import type { ComponentReport } from '../protocol/heartbeat-messages.js';
import type { Settings } from './apply-settings.js';
import type { HostCollectors, HostSnapshot } from './collectors/host-collectors.js';
import type { CommandJournal } from './commands/command-journal.js';
import { ComponentWatch } from './component-watch.js';
import { describe, type Store } from './spool/durable-store.js';
import type { Findings } from './spool/findings.js';
import type { Spool } from './spool/spool.js';
import { findingEvents, mendedEvent, recoveredEvent } from './spool/spool-events.js';
import type { StateStore } from './state-store.js';

export interface ObserverDeps {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly store: Store;
  readonly spool: Spool;
  /** Of the database. */
  readonly findings: Pick<Findings, 'tell'>;
  readonly state: StateStore;
  readonly settings: Settings;
  readonly journal: Pick<CommandJournal, 'rewrite'>;
  /** Ends this process so that another takes its place; absent where the agent is a part of another process. */
  readonly restart?: (() => void) | undefined;
  /** Made anew by the command `restart-collector`. */
  readonly makeCollectors: () => HostCollectors;
  /** Further parts of the agent that have something to say: the listener, a channel that cannot be held. */
  readonly parts: () => readonly ComponentReport[];
}

/** Looks at the machine and at the agent itself before each report; never throws and never waits long. */
export class Observer {
  readonly #deps: ObserverDeps;
  readonly #watch = new ComponentWatch();
  #collectors: HostCollectors;
  #snapshot: HostSnapshot | undefined;
  #spoolError: string | undefined;
  /** Wall clock; when the spool failed first. */
  #failingSince: number | undefined;
  /** The agent was started without its disk. */
  #isWithoutState: boolean;

  constructor(deps: ObserverDeps) {
    this.#deps = deps;
    this.#isWithoutState = deps.store.failure !== undefined;
    this.#collectors = deps.makeCollectors();
  }

  /** The last look; `observe` comes first. */
  get snapshot(): HostSnapshot {
    if (!this.#snapshot) throw new Error('Nothing was observed yet');
    return this.#snapshot;
  }

  /** The agent's own parts. Whoever reads this in a report knows that the transport works. */
  get agentParts(): readonly ComponentReport[] {
    const failing = this.#snapshot?.errors ?? [];
    return [
      part('spool', this.#spoolError),
      part('collectors', failing.length > 0 ? failing.join('; ') : undefined),
      { name: 'transport', kind: 'agentPart', state: 'online' },
      ...this.#deps.parts(),
    ];
  }

  /** What hangs or failed is left behind. */
  restartCollectors(): void {
    this.#collectors = this.#deps.makeCollectors();
  }

  spoolFailed(error: unknown): void {
    this.#failingSince ??= this.#deps.clock.wall();
    this.#spoolError = describe(error);
  }

  /** One look at a time: the heartbeat and the watch between heartbeats share it. */
  readonly observe = shareRun(() => this.#observe());

  async #observe(): Promise<void> {
    const { settings, spool, log } = this.#deps;
    await this.#mendStore();
    this.#snapshot = await this.#look();
    const components = [...this.agentParts, ...this.#snapshot.components];
    try {
      const { communicationDirection } = settings.values;
      for (const event of this.#watch.changes(components, communicationDirection)) await spool.append('control', event);
    } catch (error) {
      log.warn({ err: error }, 'A component event cannot be spooled');
      this.spoolFailed(error);
    }
  }

  /** Stopped, nothing is gathered but the facts, which say what machine this is. */
  async #look(): Promise<HostSnapshot> {
    const { settings, state } = this.#deps;
    const { componentsWatched } = settings.values;
    if (!state.stoppedCollection) return this.#collectors.snapshot(componentsWatched);
    const snapshot = await this.#collectors.snapshot([], { inventory: false });
    const components = componentsWatched.map(({ name, kind }): ComponentReport => ({
      name,
      kind,
      state: 'unknown',
      detail: 'collection is stopped',
    }));
    return { ...snapshot, counters: {}, components };
  }

  async #mendStore(): Promise<void> {
    const { store, spool, log } = this.#deps;
    const { failure } = spool;
    if (!failure) return;
    try {
      if (store.failure) await this.#reopenStore();
      if (!spool.hasRoom()) return this.spoolFailed(failure);
      await this.tellFindings();
      await this.#tellOutage(describe(failure));
      this.#spoolError = undefined;
      this.#failingSince = undefined;
    } catch (error) {
      log.warn({ err: error }, 'The spool cannot be opened again');
      this.spoolFailed(error);
    }
  }

  async #reopenStore(): Promise<void> {
    const { spool, state, settings, restart } = this.#deps;
    const { mended, lost } = await spool.reopen();
    await this.#deps.journal.rewrite();
    if (lost) {
      await state.rewrite();
      // Nothing is there any more to be read.
      this.#isWithoutState = false;
    } else await state.keepIsolation();
    if (mended) await spool.append('control', mendedEvent(mended, lost));
    if (!this.#isWithoutState) return;
    await state.reload();
    spool.carry(state.unanswered?.ranges ?? [], { isStored: true });
    settings.reload();
    this.#isWithoutState = false;
    // Everything that was read at the start is read again.
    restart?.();
  }

  /** Throws what the disk does: then the rest is told later. */
  async tellFindings(): Promise<void> {
    const { findings, spool } = this.#deps;
    await findings.tell(async (finding) => {
      for (const event of findingEvents(finding)) await spool.append('control', event);
    });
  }

  async #tellOutage(reason: string): Promise<void> {
    const { spool, clock } = this.#deps;
    const since = this.#failingSince ?? clock.wall();
    await spool.tellRefused((refused) => recoveredEvent({ reason, since, refused }));
  }
}

function part(name: string, error: string | undefined): ComponentReport {
  if (error === undefined) return { name, kind: 'agentPart', state: 'online' };
  return { name, kind: 'agentPart', state: 'offline', detail: error.slice(0, 1024) };
}
