import type { SettingsGeneration } from '../protocol/heartbeat-messages.js';
import type { IsolationPeer } from '../policies/firewall-rules.js';
import type { ToldState } from '../protocol/command-messages.js';
import { ALL_COMMANDS } from './commands/command-keys.js';
import type { IsolationFile } from './firewall/isolation-file.js';
import type { HeldDigests } from './inventory/inventory-ledger.js';
import type { Store, StoreOperation } from './spool/durable-store.js';
import type { CarriedRange } from './spool/spool.js';

export interface AppliedSettings {
  /** Canonical JSON as received. */
  readonly json: string;
  readonly fingerprint: string;
  readonly generation: SettingsGeneration;
}

/** Settings that are being proven; found at a start, they are those of a run that ended before the proof. */
export interface StoredCandidate extends AppliedSettings {
  readonly bootId: string;
  /** Boot clock, milliseconds. */
  readonly deadlineBoot: number;
}

/** A report that was stored and not answered yet; after a crash exactly these bytes are sent first. */
export interface UnansweredReport {
  readonly reportId: string;
  readonly sequence: number;
  /** The exact JSON text. */
  readonly body: string;
  /** The digest of the facts that it carries, or null. */
  readonly factsDigest: string | null;
  readonly ranges: readonly CarriedRange[];
  readonly instanceId: string;
  /** Where it says that the agent listens, or null; absent in one of an older agent. */
  readonly listenerPort?: number | null;
  /** Boot clock, milliseconds. */
  readonly builtAtBoot: number;
  readonly bootId: string;
  /** Whether it carries changes of the inventory. */
  readonly hasInventory?: boolean;
  /** Whether it asks for another certificate. */
  readonly asksRenewal?: boolean;
  /** What it tells of commands; absent in one of an older agent. */
  readonly tells?: readonly { readonly id: string; readonly state: ToldState }[];
}

export interface LastError {
  readonly code: string;
  /** Wall clock, Unix milliseconds. */
  readonly at: number;
  readonly detail: string;
}

/** An instant by the manager's clock, tied to this machine's boot clock: what certificate dates are judged against. */
export interface TimeAnchor {
  readonly bootId: string;
  readonly boot: number;
  readonly managerWall: number;
}

/** Wall clock and boot clock at one moment, milliseconds. */
export interface ClockMoment {
  readonly bootId: string;
  readonly wall: number;
  readonly boot: number;
}

export interface Progress {
  /** Of the last report that was built. */
  readonly sequence: number;
  readonly previousExchange?: { readonly sequence: number; readonly sentAt: number; readonly receivedAt: number };
  readonly identityToken?: string;
  readonly acknowledgedFacts?: string;
  /** The inventory that the manager holds by its own word. */
  readonly heldInventory?: HeldDigests;
  /** Of the last report that the manager took: where it says that the agent listens, or null. */
  readonly toldListenerPort?: number | null;
  /** Wall clock, Unix milliseconds. */
  readonly lastExchangeAt?: number;
  readonly nextContactAt?: number;
  /** When an event of a clock was spooled last: what was before has been told. */
  readonly clockTold?: ClockMoment;
  /** Milliseconds this computer's wall clock is ahead of the manager's. */
  readonly clockOffsetMs?: number;
  readonly managerUrl?: string;
  /** The URL of the proxy in use, null for none. */
  readonly proxy?: string | null;
  readonly anchor?: TimeAnchor;
  /** Null after an exchange without any. */
  readonly lastError?: LastError | null;
  /** Kept from a refusal that only a new enrollment ends until an exchange succeeds. */
  readonly refusal?: { readonly code: string; readonly at: number } | null;
}

const ISOLATION = 's!isolation';
const FIREWALL = 's!firewall';
const SETTINGS = 's!settings';
const CANDIDATE = 's!candidate';
const PROGRESS = 's!progress';
const UNANSWERED = 's!unanswered';
/** Present while collection is stopped. */
const COLLECTION = 's!collection';
/** Whose settings, progress and report these are. */
const OWNER = 's!owner';
const NOBODY = 'nobody';

/** Collection was stopped by a command and is until another starts it. */
export interface StoppedCollection {
  /** Wall clock, Unix milliseconds. */
  readonly since: number;
}

export interface StateOptions {
  /** Of `ownerOf`. */
  readonly owner: string;
  /** Begins a new database: later than any sequence that a lost one can have used. */
  readonly firstSequence: number;
  /** Absent for whoever neither begins nor ends an isolation. */
  readonly isolationFile?: IsolationFile | undefined;
}

/** The computer was isolated by a command and is until another, or the code, releases it. */
export interface Isolation {
  readonly commandId: string;
  /** Wall clock, Unix milliseconds. */
  readonly since: number;
  readonly allow: readonly IsolationPeer[];
  /** Of the code that ends it at the computer; absent where the manager made none. */
  readonly releaseDigest?: string;
}

/** What the firewall is to know after a restart. */
export interface FirewallMemory {
  /** What names of managers and proxies led to, the newest first. */
  readonly addresses: Readonly<Record<string, readonly string[]>>;
  /** Where managers dialled from, the newest first. */
  readonly dialledFrom: readonly string[];
}

const NO_MEMORY: FirewallMemory = { addresses: {}, dialledFrom: [] };

/** The agent's durable state beside the spool, in the same database, held in memory and written through. */
export class StateStore {
  readonly #store: Store;
  readonly #owner: string;
  readonly #isolationFile: IsolationFile | undefined;
  #settings: AppliedSettings | undefined;
  #candidate: StoredCandidate | undefined;
  #progress: Progress;
  #unanswered: UnansweredReport | undefined;
  #stoppedCollection: StoppedCollection | undefined;
  #isolation: Isolation | undefined;
  #isIsolationKept = true;
  #firewall: FirewallMemory;
  #isRead: boolean;

  private constructor(store: Store, loaded: Loaded, { isRead, owner, isolationFile }: Opening) {
    this.#store = store;
    this.#isRead = isRead;
    this.#owner = owner;
    this.#isolationFile = isolationFile;
    this.#settings = loaded.settings;
    this.#candidate = loaded.candidate;
    this.#progress = loaded.progress;
    this.#unanswered = loaded.unanswered;
    this.#stoppedCollection = loaded.stoppedCollection;
    this.#isolation = loaded.isolation;
    this.#firewall = loaded.firewall;
  }

  /** What another identity left is forgotten, but for the sequence, which never goes back. */
  static async open(store: Store, options: StateOptions): Promise<StateStore> {
    // Without its disk the agent begins with nothing but an isolation, until `reload`.
    const isRead = !store.failure;
    if (isRead) await own(store, options.owner, options.firstSequence);
    return new StateStore(store, await load(store, options), { ...options, isRead });
  }

  /** Whether this is what the disk holds. */
  get isRead(): boolean {
    return this.#isRead;
  }

  /** The disk can be read at last: what it holds counts, beside what was learnt without it. */
  async reload(): Promise<void> {
    const { sequence } = this.#progress;
    await own(this.#store, this.#owner, sequence);
    const loaded = await load(this.#store, { firstSequence: sequence, isolationFile: this.#isolationFile });
    this.#settings = loaded.settings;
    this.#candidate = loaded.candidate;
    this.#unanswered = loaded.unanswered;
    this.#stoppedCollection = loaded.stoppedCollection;
    if (this.#isIsolationKept) this.#isolation = loaded.isolation;
    else await this.keepIsolation().catch(() => undefined);
    this.#firewall = loaded.firewall;
    this.#isRead = true;
    await this.note({ ...loaded.progress, ...this.#progress, sequence: Math.max(sequence, loaded.progress.sequence) });
  }

  /** The directory has no identity: whoever enrolls in it next begins with nothing of an earlier one. */
  static async disown(store: Store): Promise<void> {
    await store.write([putText(OWNER, NOBODY)], { durable: true });
  }

  get settings(): AppliedSettings | undefined {
    return this.#settings;
  }

  get candidate(): StoredCandidate | undefined {
    return this.#candidate;
  }

  get progress(): Progress {
    return this.#progress;
  }

  get unanswered(): UnansweredReport | undefined {
    return this.#unanswered;
  }

  /** Undefined while everything is gathered. */
  get stoppedCollection(): StoppedCollection | undefined {
    return this.#stoppedCollection;
  }

  async setCollection(stopped: StoppedCollection | undefined): Promise<void> {
    await this.#store.write([putOrDelete(COLLECTION, stopped)], { durable: true });
    this.#stoppedCollection = stopped;
  }

  /** Undefined while the computer is not isolated. */
  get isolation(): Isolation | undefined {
    return this.#isolation;
  }

  /** Counts whatever the disk takes of it. */
  async setIsolation(isolation: Isolation | undefined): Promise<void> {
    this.#isolation = isolation;
    this.#isIsolationKept = false;
    await this.keepIsolation().catch(() => undefined);
  }

  /** Whether the disk knows of the isolation, or of its end. */
  get isIsolationKept(): boolean {
    return this.#isIsolationKept;
  }

  /** Stores an isolation, or its end, that the disk did not take. Where file and database differ, the computer is isolated. */
  async keepIsolation(): Promise<void> {
    if (this.#isIsolationKept) return;
    const isolation = this.#isolation;
    const [file, database] = await Promise.allSettled([
      (async () => this.#isolationFile?.write(isolation))(),
      this.#store.write([putOrDelete(ISOLATION, isolation)], { durable: true }),
    ]);
    if (file.status === 'rejected') throw file.reason;
    if (database.status === 'rejected') throw database.reason;
    this.#isIsolationKept = isolation === this.#isolation;
  }

  get firewall(): FirewallMemory {
    return this.#firewall;
  }

  async noteFirewall(changes: Partial<FirewallMemory>): Promise<void> {
    this.#firewall = { ...this.#firewall, ...changes };
    await this.#store.write([put(FIREWALL, this.#firewall)], { durable: false });
  }

  /** The one sync write of a heartbeat: the report and its sequence are on disk before a byte of it leaves. */
  async keepUnanswered(report: UnansweredReport): Promise<void> {
    const progress = { ...this.#progress, sequence: Math.max(this.#progress.sequence, report.sequence) };
    this.#progress = progress;
    await this.#store.write([put(UNANSWERED, report), put(PROGRESS, progress)], { durable: true });
    this.#unanswered = report;
  }

  /** The report was answered or given up. Not synced: were it forgotten, the manager would see a repeat. */
  async settle(changes: Partial<Progress>): Promise<void> {
    const durable = this.#changesRefusal(changes);
    this.#unanswered = undefined;
    this.#progress = { ...this.#progress, ...changes };
    await this.#store.write([{ type: 'del', key: UNANSWERED }, put(PROGRESS, this.#progress)], { durable });
  }

  async note(changes: Partial<Progress>): Promise<void> {
    const durable = this.#changesRefusal(changes);
    this.#progress = { ...this.#progress, ...changes };
    await this.#store.write([put(PROGRESS, this.#progress)], { durable });
  }

  /** Rare, and `enroll` relies on it: worth a sync. */
  #changesRefusal({ refusal }: Partial<Progress>): boolean {
    return refusal !== undefined && refusal?.code !== this.#progress.refusal?.code;
  }

  /** With the candidate beside them, or without any, in one step. */
  async saveSettings(settings: AppliedSettings, candidate: StoredCandidate | undefined): Promise<void> {
    await this.#store.write([put(SETTINGS, settings), putOrDelete(CANDIDATE, candidate)], { durable: true });
    this.#settings = settings;
    this.#candidate = candidate;
  }

  async forgetCandidate(): Promise<void> {
    if (!this.#candidate) return;
    await this.#store.write([{ type: 'del', key: CANDIDATE }], { durable: true });
    this.#candidate = undefined;
  }

  /** Writes everything again, into a database that was begun anew. */
  async rewrite(): Promise<void> {
    const operations = [putText(OWNER, this.#owner), put(PROGRESS, this.#progress)];
    if (this.#settings) operations.push(put(SETTINGS, this.#settings));
    if (this.#candidate) operations.push(put(CANDIDATE, this.#candidate));
    if (this.#unanswered) operations.push(put(UNANSWERED, this.#unanswered));
    if (this.#stoppedCollection) operations.push(put(COLLECTION, this.#stoppedCollection));
    if (this.#isolation) operations.push(put(ISOLATION, this.#isolation));
    operations.push(put(FIREWALL, this.#firewall));
    await this.#store.write(operations, { durable: true });
    this.#isRead = true;
  }
}

interface Opening extends StateOptions {
  readonly isRead: boolean;
}

interface Loaded {
  readonly settings: AppliedSettings | undefined;
  readonly candidate: StoredCandidate | undefined;
  readonly progress: Progress;
  readonly unanswered: UnansweredReport | undefined;
  readonly stoppedCollection: StoppedCollection | undefined;
  readonly isolation: Isolation | undefined;
  readonly firewall: FirewallMemory;
}

async function load(store: Store, { firstSequence, isolationFile }: Omit<StateOptions, 'owner'>): Promise<Loaded> {
  return {
    settings: parse<AppliedSettings>(await store.get(SETTINGS)),
    candidate: parse<StoredCandidate>(await store.get(CANDIDATE)),
    progress: parse<Progress>(await store.get(PROGRESS)) ?? { sequence: firstSequence },
    unanswered: parse<UnansweredReport>(await store.get(UNANSWERED)),
    stoppedCollection: parse<StoppedCollection>(await store.get(COLLECTION)),
    isolation: parse<Isolation>(await store.get(ISOLATION)) ?? isolationFile?.read(),
    firewall: parse<FirewallMemory>(await store.get(FIREWALL)) ?? NO_MEMORY,
  };
}

function parse<T>(text: string | undefined): T | undefined {
  return text === undefined ? undefined : (JSON.parse(text) as T);
}

function put(key: string, value: unknown): StoreOperation {
  return putText(key, JSON.stringify(value));
}

function putOrDelete(key: string, value: unknown): StoreOperation {
  return value === undefined ? { type: 'del', key } : put(key, value);
}

function putText(key: string, value: string): StoreOperation {
  return { type: 'put', key, value };
}

/** An older agent noted no owner: then the state is of the identity that is there. */
async function own(store: Store, owner: string, firstSequence: number): Promise<void> {
  const noted = await store.get(OWNER);
  if (noted === owner) return;
  const operations = [putText(OWNER, owner)];
  if (noted !== undefined) operations.push(...(await forgetting(store, firstSequence)));
  await store.write(operations, { durable: true });
}

async function forgetting(store: Store, firstSequence: number): Promise<StoreOperation[]> {
  const before = parse<Progress>(await store.get(PROGRESS));
  const sequence = Math.max(before?.sequence ?? 0, firstSequence);
  const commands: StoreOperation[] = [];
  await store.scan(ALL_COMMANDS, (key) => commands.push({ type: 'del', key }) > 0);
  return [
    ...commands,
    { type: 'del', key: COLLECTION },
    { type: 'del', key: ISOLATION },
    { type: 'del', key: FIREWALL },
    { type: 'del', key: SETTINGS },
    { type: 'del', key: CANDIDATE },
    { type: 'del', key: UNANSWERED },
    before ? put(PROGRESS, { sequence }) : { type: 'del', key: PROGRESS },
  ];
}
