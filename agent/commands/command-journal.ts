import { Turns } from '../../lib/turns.js';
import type { CommandOrder, CommandResult, ToldState } from '../../protocol/command-messages.js';
import type { Store, StoreOperation } from '../spool/durable-store.js';
import { ALL_COMMANDS, commandKey } from './command-keys.js';
import {
  forgottenOf,
  nextOf,
  runsWithoutDisk,
  tellingsOf,
  type CommandOutcome,
  type JournalEntry,
} from './journal-rules.js';

interface Telling {
  readonly id: string;
  readonly state: ToldState;
}

/**
 * Every command that this agent took, in its database: written and synced before it runs and after, so that a crash at any
 * moment tells whether it ran; but for those that cannot wait for a disk. What ended is remembered, so that a command that
 * comes again is answered and not run again.
 */
export class CommandJournal {
  readonly #store: Store;
  readonly #entries = new Map<string, JournalEntry>();
  #arrivals = 0;
  readonly #turns = new Turns();

  private constructor(store: Store) {
    this.#store = store;
  }

  static async open(store: Store): Promise<CommandJournal> {
    const journal = new CommandJournal(store);
    await store.scan(ALL_COMMANDS, (_key, value) => {
      const entry = JSON.parse(value) as JournalEntry;
      journal.#entries.set(entry.order.id, entry);
      journal.#arrivals = Math.max(journal.#arrivals, entry.arrival);
      return true;
    });
    return journal;
  }

  get entries(): readonly JournalEntry[] {
    return [...this.#entries.values()].toSorted((a, b) => a.arrival - b.arrival);
  }

  /** The commands that a former process was running when it ended. */
  get running(): readonly JournalEntry[] {
    return this.entries.filter(({ state }) => state === 'running');
  }

  get next(): JournalEntry | undefined {
    return nextOf(this.#entries.values());
  }

  /** The next of those that run though the disk takes nothing. */
  get nextWithoutDisk(): JournalEntry | undefined {
    return nextOf([...this.#entries.values()].filter(runsWithoutDisk));
  }

  get tellings(): readonly CommandResult[] {
    return tellingsOf(this.#entries.values());
  }

  /** Those that are new are kept durably; of those that are known everything is told again. */
  take(orders: readonly CommandOrder[], managerTime: number): Promise<void> {
    return this.#inTurn(() =>
      this.#keep(
        orders.map((order): JournalEntry => {
          const known = this.#entries.get(order.id);
          if (known) return { ...known, told: undefined };
          this.#arrivals += 1;
          return { order, expiresAt: managerTime + order.expiresInMs, arrival: this.#arrivals, state: 'waiting' };
        }),
      ),
    );
  }

  /** Durable before the command runs. */
  begin(entry: JournalEntry): Promise<void> {
    return this.#update(entry.order.id, { state: 'running' });
  }

  /** It was running when a former process ended, and may run again. */
  again(entry: JournalEntry): Promise<void> {
    return this.#update(entry.order.id, { state: 'waiting' });
  }

  end(entry: JournalEntry, outcome: CommandOutcome): Promise<void> {
    return this.#update(entry.order.id, { state: 'ended', outcome });
  }

  /** A report that told this was answered. Not synced: were it forgotten, it would be told again. */
  told(tellings: readonly Telling[]): Promise<void> {
    return this.#inTurn(() => this.#noteTold(tellings));
  }

  async #noteTold(tellings: readonly Telling[]): Promise<void> {
    const told = tellings.flatMap(({ id, state }) => {
      const entry = this.#entries.get(id);
      return entry ? [{ ...entry, told: state }] : [];
    });
    if (told.length === 0) return;
    for (const entry of told) this.#entries.set(entry.order.id, entry);
    const forgotten = forgottenOf(this.#entries.values());
    for (const { order } of forgotten) this.#entries.delete(order.id);
    await this.#store.write(
      [...told.map(put), ...forgotten.map(({ order }): StoreOperation => ({ type: 'del', key: commandKey(order.id) }))],
      { durable: false },
    );
  }

  /** Writes everything again, into a database that was begun anew or did not take all of it. */
  rewrite(): Promise<void> {
    return this.#inTurn(() => this.#store.write(this.entries.map(put), { durable: true }));
  }

  #update(id: string, changes: Partial<JournalEntry>): Promise<void> {
    return this.#inTurn(() => {
      const known = this.#entries.get(id);
      if (!known) throw new Error('A command is not in the journal');
      return this.#keep([{ ...known, ...changes }]);
    });
  }

  /**
   * One change after the other: an entry that is read while another is being written is the former one, and would put
   * `waiting` over `running` on the disk, where a crash would have the command run twice.
   */
  #inTurn(change: () => Promise<void>): Promise<void> {
    return this.#turns.take(change);
  }

  /** Durable, and in memory once it is on the disk: what could not be written did not happen, unless it cannot wait. */
  async #keep(entries: readonly JournalEntry[]): Promise<void> {
    if (entries.length === 0) return;
    try {
      await this.#store.write(entries.map(put), { durable: true });
      this.#remember(entries);
    } catch (error) {
      const urgent = entries.filter(runsWithoutDisk);
      this.#remember(urgent);
      if (urgent.length < entries.length) throw error;
    }
  }

  #remember(entries: readonly JournalEntry[]): void {
    for (const entry of entries) this.#entries.set(entry.order.id, entry);
  }
}

function put(entry: JournalEntry): StoreOperation {
  return { type: 'put', key: commandKey(entry.order.id), value: JSON.stringify(entry) };
}
