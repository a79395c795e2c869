import type { Clock } from '../../lib/clock.js';
import type { Log } from '../../lib/log.js';
import { Problem } from '../../lib/problem.js';
import { Turns } from '../../lib/turns.js';
import type { FirewallRule } from '../../policies/firewall-rules.js';
import { digestOfSet, effectiveSet, isWithoutEffect, type FirewallListener } from '../../policies/firewall-set.js';
import type { ComponentReport, FirewallReport } from '../../protocol/heartbeat-messages.js';
import { CommandFailure, notSupported } from '../commands/executor.js';
import { sleepUnlessAborted } from '../deadline.js';
import type { IncomingEvent } from '../spool/event-intake.js';
import type { Spool } from '../spool/spool.js';
import type { Isolation, StateStore } from '../state-store.js';
import type { Routes } from '../transport/manager-transport.js';
import { FirewallContacts } from './firewall-contacts.js';
import {
  APPLIED,
  codeRefusedEvent,
  endedEvent,
  isolatedEvent,
  RESTORED,
  troubleOf,
  type Outcome,
} from './firewall-events.js';
import { ISOLATING_CHAIN, planIsolation, planRules, type FirewallPlan } from './firewall-plan.js';
import type { HostNetwork } from './host-network.js';
import { FirewallUnsupported, type PacketFilter } from './nft-program.js';
import { scriptOf } from './nft-text.js';
import { ReleaseCodes } from './release-code.js';
import type { KeptTables, TablesFile } from './tables-file.js';

/** What the settings want of the firewall at this moment. */
export interface FirewallWish {
  /** Undefined where no settings are known, which may have been lost. */
  readonly rules: readonly FirewallRule[] | undefined;
  readonly listeners: readonly FirewallListener[];
  readonly routes: Routes;
  /** Why the rules of settings that were reverted could not be loaded. */
  readonly reverted: string | undefined;
}

type StateNeeded =
  'isRead' | 'isolation' | 'setIsolation' | 'keepIsolation' | 'isIsolationKept' | 'firewall' | 'noteFirewall';

export interface FirewallDeps {
  readonly clock: Clock;
  readonly log: Log;
  readonly state: Pick<StateStore, StateNeeded>;
  readonly spool: Pick<Spool, 'append'>;
  readonly tables: TablesFile;
  /** Absent where this agent keeps its hands off. */
  readonly filter: PacketFilter | undefined;
  readonly network: HostNetwork;
  readonly enrolledUrls: readonly string[];
  readonly wish: () => FirewallWish;
}

export interface FirewallStatus {
  readonly state: FirewallReport['state'];
  readonly detail: string | null;
  readonly isolated: { readonly since: number; readonly commandId: string } | null;
}

const PART = { name: 'firewall', kind: 'agentPart' } as const;
const LOST = 'the settings were lost: the last rules are in force until the manager sends them again';
const UNREAD = 'what is to be in force cannot be read from the disk, so that whatever stands stays';
const LOOK_MS = 60_000;

/** Keeps the machine's packet filter as settings and isolation want it. It throws nowhere but where a command asks. */
export class Firewall {
  readonly #deps: FirewallDeps;
  readonly #contacts: FirewallContacts;
  readonly #codes: ReleaseCodes;
  /** The generation that stands; null for none; undefined where it is not known. */
  #loaded: string | null | undefined;
  /** Undefined where no tables of the agent's can stand. */
  #kept: KeptTables | undefined;
  #isKeptOnDisk = true;
  #outcome: Outcome = { state: 'applied' };
  #digest: string | undefined;
  #told: string | undefined;
  /** Nobody looks at tables that another is about to load. */
  readonly #turns = new Turns();
  /** Commands and codes: a code that is right for one isolation must not end the next, which is being begun. */
  readonly #orders = new Turns();

  constructor(deps: FirewallDeps) {
    this.#deps = deps;
    this.#contacts = new FirewallContacts({ ...deps, routes: () => deps.wish().routes });
    this.#codes = new ReleaseCodes(deps.clock);
    this.#kept = deps.tables.read();
  }

  /** Brings the packet filter to what is wanted now; what it came to is in `status`. */
  apply(): Promise<void> {
    return this.#turns.take(() => this.#apply());
  }

  /** Why what is wanted could not be loaded: the former set is in force. */
  get failure(): string | undefined {
    return this.#outcome.state === 'failed' ? this.#outcome.detail : undefined;
  }

  get status(): FirewallStatus {
    const { state, detail } = this.#said();
    const { isolation } = this.#deps.state;
    return {
      state,
      detail: detail ?? null,
      isolated: isolation ? { since: isolation.since, commandId: isolation.commandId } : null,
    };
  }

  report(): FirewallReport {
    const { state, detail } = this.#said();
    const { isolation } = this.#deps.state;
    return {
      state,
      ...(this.#digest === undefined ? {} : { digest: this.#digest }),
      ...(detail === undefined ? {} : { detail: detail.slice(0, 1024) }),
      ...(isolation ? { isolatedBy: isolation.commandId } : {}),
    };
  }

  /** The agent's part `firewall`, where something is wanted of it. */
  get part(): ComponentReport | undefined {
    const { state, detail = '' } = this.#shown();
    const { rules = [] } = this.#deps.wish();
    const isWanted = rules.length > 0 || this.#deps.state.isolation !== undefined;
    const told = `${state}: ${detail}`.slice(0, 1024);
    if (state === 'failed') return { ...PART, state: 'offline', detail: told };
    if (state === 'unsupported') return { ...PART, state: isWanted ? 'offline' : 'unknown', detail: told };
    return isWanted ? { ...PART, state: 'online' } : undefined;
  }

  /** An agent that keeps its hands off says so, also while nothing is wanted of it. */
  #said(): Outcome {
    return this.#deps.filter ? this.#shown() : { state: 'unsupported', detail: NO_FILTER };
  }

  #shown(): Outcome {
    const { reverted } = this.#deps.wish();
    const isFine = this.#outcome.state === 'applied' && reverted !== undefined;
    return isFine ? { state: 'failed', detail: reverted } : this.#outcome;
  }

  /** Looks after names and tables until the signal is aborted. */
  async watch(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.#look().catch((error: unknown) =>
        this.#deps.log.warn({ err: error }, 'The firewall was not looked at'),
      );
      await sleepUnlessAborted(this.#deps.clock, LOOK_MS, signal);
    }
  }

  async #look(): Promise<void> {
    if (!this.#isKeptOnDisk) this.#keep(this.#kept);
    await this.#deps.state.keepIsolation().catch(() => undefined);
    if (await this.#turns.take(() => this.#noticeLoss())) await this.#tell(RESTORED);
    if (this.#isInUse()) await this.#contacts.resolve();
    await this.apply();
  }

  /** Whether the tables are gone: what is wanted is loaded again then. */
  async #noticeLoss(): Promise<boolean> {
    const { filter } = this.#deps;
    if (!filter || typeof this.#loaded !== 'string' || (await filter.stands(this.#loaded))) return false;
    this.#loaded = undefined;
    return true;
  }

  /** Whether anything stands between the agent and its manager. */
  #isInUse(): boolean {
    return typeof this.#loaded === 'string';
  }

  /**
   * Lets the agent's own connection to a manager or proxy pass before it is opened. Answers the addresses that it is to
   * be opened to, or undefined where nothing has to be done for it. Throws where the name leads nowhere.
   */
  async admit(host: string, port: number): Promise<readonly string[] | undefined> {
    if (!this.#isInUse()) return undefined;
    const { addresses, isNew } = await this.#contacts.admit(host, port);
    if (isNew) await this.apply();
    return addresses;
  }

  /** A manager was recognised over the listener, coming from this address. */
  async dialledFrom(given: string | undefined): Promise<void> {
    const isNew = await this.#contacts.noteDialler(given);
    if (isNew && this.#deps.state.isolation) await this.apply();
  }

  async #apply(): Promise<void> {
    const { filter, state } = this.#deps;
    // Nobody knows what the rules are: whatever stands stays, unless nothing of them counts.
    if (filter && !state.isRead && !state.isolation) return this.#came({ state: 'failed', detail: UNREAD });
    try {
      const wish = this.#deps.wish();
      const before = this.#loaded;
      const digest = await this.#bring(wish);
      const isOther = this.#digest !== undefined && digest !== this.#digest && before !== this.#loaded;
      this.#digest = digest;
      await this.#came({ state: 'applied' }, isOther);
    } catch (error) {
      const detail = error instanceof Error ? error.message : String(error);
      await this.#came({ state: error instanceof FirewallUnsupported ? 'unsupported' : 'failed', detail });
      await this.#keepFormer();
    }
  }

  /** The digest of the rules that are wanted, where they are known. */
  async #bring(wish: FirewallWish): Promise<string | undefined> {
    const { isolation } = this.#deps.state;
    if (isolation) {
      await this.#isolateNow(wish, isolation);
      return wish.rules && digestOfSet(effectiveSet(wish.rules, wish.listeners));
    }
    if (!wish.rules && this.#kept?.loaded) throw new Error(LOST);
    return this.#bringRules(wish.rules ?? [], wish);
  }

  async #isolateNow({ listeners }: FirewallWish, { allow }: Isolation): Promise<void> {
    await this.#contacts.learnNames();
    const { contact } = this.#contacts;
    const managers = contact.targets.map(({ address }) => address);
    const dialledFrom = [...new Set([...managers, ...this.#contacts.dialledFrom])];
    const listenerPorts = listeners.map(({ port }) => port);
    const plan = planIsolation({ contact, dialledFrom, listenerPorts, allow });
    const { loaded: _before, ...former } = this.#kept ?? {};
    await this.#load(plan, { ...former, isIsolation: true });
  }

  /** Answers their digest. */
  async #bringRules(rules: readonly FirewallRule[], wish: FirewallWish): Promise<string> {
    const listeners = this.#listenersOf(wish);
    const set = effectiveSet(rules, listeners);
    if (isWithoutEffect(set)) await this.#unload();
    else {
      await this.#contacts.learnNames();
      await this.#load(planRules(set, this.#contacts.contact), { isIsolation: false, rules, listeners });
    }
    return digestOfSet(set);
  }

  /** Without settings the ports stay open to those that they were open to, and to nobody else. */
  #listenersOf({ rules, listeners }: FirewallWish): readonly FirewallListener[] {
    const former = rules ? [] : (this.#kept?.listeners ?? []);
    const others = listeners.filter(({ port }) => !former.some((known) => known.port === port));
    return [...former, ...others];
  }

  /** The rules that are wanted could not be had: the last that could are in force, with the way to the manager as it is now. */
  async #keepFormer(): Promise<void> {
    const { state, log } = this.#deps;
    if (!state.isRead || state.isolation || this.#outcome.state !== 'failed') return;
    try {
      await this.#bringFormer();
    } catch (error) {
      log.warn({ err: error }, 'The former rules of the firewall could not be loaded either');
    }
  }

  /** An isolation that was ended ends, whatever the packet filter takes. */
  async #bringFormer(): Promise<void> {
    const wish = this.#deps.wish();
    const ways = [
      () => this.#bringRules(this.#kept?.rules ?? [], wish),
      () => this.#bringRules([], wish),
      () => this.#takeAway().then(() => digestOfSet(effectiveSet([], []))),
    ];
    for (const [index, way] of ways.entries()) {
      try {
        this.#digest = await way();
        return;
      } catch (error) {
        if (index === ways.length - 1 || !(await this.#isCutOff())) throw error;
      }
    }
  }

  /** Whether tables of an isolation stand. */
  async #isCutOff(): Promise<boolean> {
    const { filter } = this.#deps;
    if (!filter) throw new FirewallUnsupported(NO_FILTER);
    return filter.stands(ISOLATING_CHAIN);
  }

  async #load(plan: FirewallPlan, { isIsolation, ...wanted }: Loading): Promise<void> {
    const script = scriptOf(plan);
    if (script.generation === this.#loaded) return;
    const { filter } = this.#deps;
    if (!filter) throw new FirewallUnsupported(NO_FILTER);
    await filter.check(script);
    const before = this.#kept;
    // Before they stand: a crash in between leaves none that nobody knows of.
    this.#keep({ loaded: { isIsolation, text: script.text }, ...wanted });
    try {
      await filter.load(script);
    } catch (error) {
      this.#keep(before ?? {});
      throw error;
    }
    this.#loaded = script.generation;
  }

  async #unload(): Promise<void> {
    if (this.#loaded === null || (this.#loaded === undefined && !this.#kept)) return;
    await this.#takeAway();
  }

  async #takeAway(): Promise<void> {
    const { filter } = this.#deps;
    if (!filter) throw new FirewallUnsupported(NO_FILTER);
    await filter.unload();
    this.#loaded = null;
    this.#keep(undefined);
  }

  /** What the disk does not take now is written at a later look. */
  #keep(tables: KeptTables | undefined): void {
    this.#kept = tables;
    try {
      this.#deps.tables.write(tables);
      this.#isKeptOnDisk = true;
    } catch (error) {
      this.#isKeptOnDisk = false;
      this.#deps.log.warn({ err: error }, 'What stands in the packet filter cannot be kept for the next boot');
    }
  }

  /** Told once for each thing that it comes to. */
  async #came(outcome: Outcome, isOther = false): Promise<void> {
    const { state, detail } = outcome;
    this.#outcome = outcome;
    const tale = state === 'applied' ? undefined : `${state} ${detail}`;
    const isNews = tale !== this.#told;
    this.#told = tale;
    if (state === 'applied' && (isOther || isNews)) await this.#tell(APPLIED);
    if (state !== 'applied' && isNews) await this.#tell(troubleOf(outcome));
  }

  async #tell(event: IncomingEvent): Promise<void> {
    const { spool, log } = this.#deps;
    log.info({ kind: event.kind, ...(event.data as object | undefined) }, event.message);
    try {
      await spool.append('control', event);
    } catch (error) {
      log.warn({ err: error, kind: event.kind }, 'An event of the firewall cannot be spooled');
    }
  }

  /** Cuts the computer off but for its manager. Throws `CommandFailure` where it cannot, and leaves all as it was. */
  isolate(wanted: Omit<Isolation, 'since'>): Promise<void> {
    return this.#orders.take(() => this.#isolate(wanted));
  }

  async #isolate(wanted: Omit<Isolation, 'since'>): Promise<void> {
    const { state, clock } = this.#deps;
    const before = state.isolation;
    await this.#begin({ ...wanted, since: before?.since ?? Math.round(clock.wall()) });
    this.#warnUnlessStored();
    await this.#tell(isolatedEvent(wanted));
  }

  /** Whether there was anything to end. */
  release(by: 'command' | 'code', commandId?: string): Promise<boolean> {
    return this.#orders.take(() => this.#release(by, commandId));
  }

  async #release(by: 'command' | 'code', commandId?: string): Promise<boolean> {
    const { isolation } = this.#deps.state;
    if (!isolation) return this.#endUnread();
    await this.#endIsolation(isolation);
    this.#warnUnlessStored();
    await this.#tell(endedEvent(isolation, by, commandId));
    return true;
  }

  /** Whether a restart would know that the computer is isolated, or is so no longer; tried again at each look. */
  get isStored(): boolean {
    return this.#deps.state.isIsolationKept;
  }

  #warnUnlessStored(): void {
    if (!this.isStored) this.#deps.log.warn('The disk does not take that the computer is isolated, or is no longer');
  }

  /** Throws `not-isolated`, `too-many-requests`, `release-code-refused`; a code that was right counts for nothing more. */
  releaseByCode(code: string): Promise<{ readonly released: true }> {
    return this.#orders.take(() => this.#releaseByCode(code));
  }

  async #releaseByCode(code: string): Promise<{ readonly released: true }> {
    const { isolation } = this.#deps.state;
    if (!isolation) throw new Problem('not-isolated', { detail: 'This computer is not isolated.' });
    if (!this.#codes.isRight(code, isolation.releaseDigest)) {
      await this.#tell(codeRefusedEvent(isolation));
      throw new Problem('release-code-refused', { detail: 'This is not the code of the present isolation.' });
    }
    await this.#release('code').catch((error: unknown) => {
      throw new Problem('unavailable', { detail: error instanceof Error ? error.message : String(error) });
    });
    return { released: true };
  }

  async #begin(wanted: Isolation): Promise<void> {
    const before = this.#deps.state.isolation;
    await this.#deps.state.setIsolation(wanted);
    await this.apply();
    if (this.#outcome.state !== 'applied') await this.#putBack(before);
  }

  /** Rules that cannot be loaded do not keep it from its end. */
  async #endIsolation(before: Isolation): Promise<void> {
    await this.#deps.state.setIsolation(undefined);
    await this.apply();
    if (this.#outcome.state === 'applied') return;
    const isOpen = await this.#turns.take(() => this.#openUp()).catch(() => false);
    if (!isOpen) await this.#putBack(before);
  }

  /** One that a full disk did not take before a restart stands, though nobody knows of it. */
  async #endUnread(): Promise<boolean> {
    if (this.#deps.state.isRead || !this.#deps.filter) return false;
    return this.#turns.take(async () => {
      if (!(await this.#isCutOff().catch(() => false))) return false;
      this.#kept ??= {};
      return this.#openUp();
    });
  }

  async #openUp(): Promise<boolean> {
    if (await this.#isCutOff()) await this.#bringFormer();
    return !(await this.#isCutOff());
  }

  async #putBack(before: Isolation | undefined): Promise<never> {
    const { state: came, detail = '' } = this.#outcome;
    await this.#deps.state.setIsolation(before);
    await this.apply();
    throw came === 'unsupported' ? notSupported(detail) : new CommandFailure('firewall-failed', detail);
  }
}

/** Beside it, what a release, and rules that are refused, fall back to. */
interface Loading extends Omit<KeptTables, 'loaded'> {
  readonly isIsolation: boolean;
}

const NO_FILTER = 'this agent was started to keep its hands off the packet filter';
