import type { SettingsGeneration } from '../protocol/heartbeat-messages.js';
import type { DurableStore, StoreOperation } from './spool/durable-store.js';
import type { CarriedRange } from './spool/spool.js';

export interface AppliedSettings {
  /** Canonical JSON as received. */
  readonly json: string;
  readonly fingerprint: string;
  readonly generation: SettingsGeneration;
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
  /** Boot clock, milliseconds. */
  readonly builtAtBoot: number;
  readonly bootId: string;
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

export interface Progress {
  /** Of the last report that was built. */
  readonly sequence: number;
  readonly previousExchange?: { readonly sequence: number; readonly sentAt: number; readonly receivedAt: number };
  readonly identityToken?: string;
  readonly acknowledgedFacts?: string;
  /** Wall clock, Unix milliseconds. */
  readonly lastExchangeAt?: number;
  readonly nextContactAt?: number;
  /** Milliseconds this computer's wall clock is ahead of the manager's. */
  readonly clockOffsetMs?: number;
  readonly managerUrl?: string;
  readonly anchor?: TimeAnchor;
  /** Null after an exchange without any. */
  readonly lastError?: LastError | null;
}

const SETTINGS = 's!settings';
const PROGRESS = 's!progress';
const UNANSWERED = 's!unanswered';

/** The agent's durable state beside the spool, in the same database, held in memory and written through. */
export class StateStore {
  readonly #store: DurableStore;
  #settings: AppliedSettings | undefined;
  #progress: Progress;
  #unanswered: UnansweredReport | undefined;

  private constructor(store: DurableStore, loaded: Loaded) {
    this.#store = store;
    this.#settings = loaded.settings;
    this.#progress = loaded.progress;
    this.#unanswered = loaded.unanswered;
  }

  /** `firstSequence` begins a new database: later than any sequence that a lost one can have used. */
  static async open(store: DurableStore, firstSequence: number): Promise<StateStore> {
    return new StateStore(store, {
      settings: parse<AppliedSettings>(await store.get(SETTINGS)),
      progress: parse<Progress>(await store.get(PROGRESS)) ?? { sequence: firstSequence },
      unanswered: parse<UnansweredReport>(await store.get(UNANSWERED)),
    });
  }

  get settings(): AppliedSettings | undefined {
    return this.#settings;
  }

  get progress(): Progress {
    return this.#progress;
  }

  get unanswered(): UnansweredReport | undefined {
    return this.#unanswered;
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
    this.#unanswered = undefined;
    this.#progress = { ...this.#progress, ...changes };
    await this.#store.write([{ type: 'del', key: UNANSWERED }, put(PROGRESS, this.#progress)], { durable: false });
  }

  async note(changes: Partial<Progress>): Promise<void> {
    this.#progress = { ...this.#progress, ...changes };
    await this.#store.write([put(PROGRESS, this.#progress)], { durable: false });
  }

  async saveSettings(settings: AppliedSettings): Promise<void> {
    await this.#store.write([put(SETTINGS, settings)], { durable: true });
    this.#settings = settings;
  }

  /** Writes everything again, into a database that was begun anew. */
  async rewrite(): Promise<void> {
    const operations = [put(PROGRESS, this.#progress)];
    if (this.#settings) operations.push(put(SETTINGS, this.#settings));
    if (this.#unanswered) operations.push(put(UNANSWERED, this.#unanswered));
    await this.#store.write(operations, { durable: true });
  }
}

interface Loaded {
  readonly settings: AppliedSettings | undefined;
  readonly progress: Progress;
  readonly unanswered: UnansweredReport | undefined;
}

function parse<T>(text: string | undefined): T | undefined {
  return text === undefined ? undefined : (JSON.parse(text) as T);
}

function put(key: string, value: unknown): StoreOperation {
  return { type: 'put', key, value: JSON.stringify(value) };
}
