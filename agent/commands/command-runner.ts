import type { JsonValue } from '../../lib/canonical-json.js';
import type { Clock } from '../../lib/clock.js';
import type { Log } from '../../lib/log.js';
import { readBy } from '../../lib/schema.js';
import {
  commandOrderSchema,
  MAX_RESULT_LENGTH,
  type CommandOrder,
  type CommandResult,
} from '../../protocol/command-messages.js';
import { argumentFaults, isCommandType, rulesOf } from '../../protocol/command-types.js';
import { DeadlinePassed, withDeadline } from '../deadline.js';
import { toStorableCut, toStorableJson } from '../storable.js';
import type { ManagerConnection } from '../transport/tls-connection.js';
import type { CommandJournal } from './command-journal.js';
import { CommandFailure, type CommandArgs, type ExecutorTable } from './executor.js';
import type { CommandOutcome, JournalEntry } from './journal-rules.js';
import type { Uploads } from './upload.js';

export interface RunnerDeps {
  readonly clock: Clock;
  readonly log: Log;
  readonly journal: CommandJournal;
  readonly executors: ExecutorTable;
  /** What commands wait for while only the manager opens connections. */
  readonly uploads?: Pick<Uploads, 'pump'>;
  /** The manager's clock as far as this agent knows it, Unix milliseconds. */
  readonly managerNow: () => number;
  /** The manager is to hear of something now. */
  readonly onNews: () => void;
}

const DISK_PAUSE_MS = 5000;
const LONGEST_DETAIL = 1024;

/** What exchanges need of commands. */
export interface CommandExchange {
  /** What the next report tells. */
  readonly tellings: readonly CommandResult[];
  /** A report that told this was answered. */
  told(tellings: readonly Pick<CommandResult, 'id' | 'state'>[]): Promise<void>;
  /** Keeps what orders carry, durably, and runs it. */
  take(commands: readonly unknown[], managerTime: number): Promise<void>;
  /** Waits until nothing runs, at most so long. */
  quiet(milliseconds: number, signal: AbortSignal): Promise<void>;
  /** Sends the files that wait for a connection of the manager's. */
  pump(connection: ManagerConnection, signal: AbortSignal): Promise<void>;
}

/** Runs the journal's commands one after the other, each at most once unless its type may run again. */
export class CommandRunner implements CommandExchange {
  readonly #deps: RunnerDeps;
  readonly #stop = new AbortController();
  #running: Promise<void> | undefined;
  #isStarted = false;
  #current: JournalEntry | undefined;

  constructor(deps: RunnerDeps) {
    this.#deps = deps;
  }

  get tellings(): readonly CommandResult[] {
    return this.#deps.journal.tellings;
  }

  /** Of the commands that are not ended. */
  get current(): JournalEntry | undefined {
    return this.#current;
  }

  told(tellings: readonly Pick<CommandResult, 'id' | 'state'>[]): Promise<void> {
    return this.#deps.journal.told(tellings);
  }

  /** Settles what a former process left running, then goes on with what waits. */
  async start(): Promise<void> {
    for (const entry of this.#deps.journal.running) await this.#recover(entry);
    this.#isStarted = true;
    this.#kick();
  }

  /** A command that runs is left as it is: the next process settles it. */
  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  async take(commands: readonly unknown[], managerTime: number): Promise<void> {
    const orders = commands.flatMap((command) => this.#read(command));
    try {
      await this.#deps.journal.take(orders, managerTime);
    } finally {
      this.#kick();
    }
  }

  async quiet(milliseconds: number, signal: AbortSignal): Promise<void> {
    const { clock } = this.#deps;
    const running = this.#running;
    if (!running) return;
    await withDeadline({ clock, milliseconds, signal }, () => running).catch(() => undefined);
  }

  async pump(connection: ManagerConnection, signal: AbortSignal): Promise<void> {
    await this.#deps.uploads?.pump(connection, signal);
  }

  /** One that cannot be read is left out: nothing is known to answer it by. */
  #read(command: unknown): CommandOrder[] {
    try {
      return [readBy(commandOrderSchema, command)];
    } catch (error) {
      this.#deps.log.warn({ err: error }, 'A command cannot be read');
      return [];
    }
  }

  async #recover(entry: JournalEntry): Promise<void> {
    const { journal, executors, log } = this.#deps;
    const { type, id } = entry.order;
    const afterRestart = Object.hasOwn(executors, type) ? executors[type]?.afterRestart : undefined;
    if (afterRestart) return journal.end(entry, { state: 'succeeded', result: afterRestart() });
    if (isCommandType(type) && rulesOf(type).isRepeatable) return journal.again(entry);
    log.warn({ commandId: id, type }, 'A command was interrupted');
    const detail = 'The agent ended while the command ran.';
    return journal.end(entry, { state: 'failed', reason: 'interrupted', detail });
  }

  #kick(): void {
    if (!this.#isStarted || this.#running || this.#stop.signal.aborted) return;
    this.#running = this.#run().finally(() => {
      this.#running = undefined;
      if (this.#deps.journal.next) this.#kick();
    });
  }

  async #run(): Promise<void> {
    const { journal, log } = this.#deps;
    const { signal } = this.#stop;
    for (let entry = journal.next; entry && !signal.aborted; entry = journal.next) {
      try {
        await this.#runOne(entry);
      } catch (error) {
        // Nothing runs that the disk does not know of.
        log.warn({ err: error }, 'The journal of commands cannot be written');
        await this.#waitForDisk();
      }
    }
  }

  async #runOne(entry: JournalEntry): Promise<void> {
    const { journal, managerNow, onNews } = this.#deps;
    if (managerNow() >= entry.expiresAt) await journal.end(entry, { state: 'expired' });
    else {
      await journal.begin(entry);
      this.#current = entry;
      const outcome = await this.#execute(entry);
      this.#current = undefined;
      // The agent ends: the next process finds it running.
      if (!outcome) return;
      await this.#keepOutcome(entry, outcome);
    }
    onNews();
  }

  /** What it came to is in memory alone until the disk takes it. */
  async #keepOutcome(entry: JournalEntry, outcome: CommandOutcome): Promise<void> {
    const { journal, log } = this.#deps;
    while (!this.#stop.signal.aborted) {
      try {
        return await journal.end(entry, outcome);
      } catch (error) {
        log.warn({ err: error }, 'The end of a command cannot be written');
        await this.#waitForDisk();
      }
    }
  }

  /** What needs none runs meanwhile. */
  async #waitForDisk(): Promise<void> {
    const { journal, clock } = this.#deps;
    const urgent = journal.nextWithoutDisk;
    if (urgent) return this.#runOne(urgent);
    await clock.sleep(DISK_PAUSE_MS, this.#stop.signal).catch(() => undefined);
  }

  async #execute({ order }: JournalEntry): Promise<CommandOutcome | undefined> {
    const { clock, log } = this.#deps;
    const { id, type } = order;
    const began = clock.monotonic();
    log.info({ commandId: id, type }, 'A command begins');
    const outcome = await this.#outcomeOf(order);
    if (!outcome || this.#stop.signal.aborted) return undefined;
    const { state, reason } = outcome;
    log.info({ commandId: id, type, state, ...(reason === undefined ? {} : { reason }) }, 'A command ended');
    return { ...outcome, durationMs: Math.max(0, clock.monotonic() - began) };
  }

  async #outcomeOf(order: CommandOrder): Promise<CommandOutcome | undefined> {
    const { id: commandId, type, args, releaseDigest } = order;
    const { clock, executors } = this.#deps;
    const executor = isCommandType(type) && Object.hasOwn(executors, type) ? executors[type] : undefined;
    if (!executor || !isCommandType(type))
      return failed('unknown-type', `This version of the agent knows no command "${type}".`);
    const [fault] = argumentFaults(type, args);
    if (fault) return failed('arguments-invalid', `${fault.pointer} ${fault.detail}`);
    const deadline = { clock, milliseconds: rulesOf(type).limitMs, signal: this.#stop.signal };
    try {
      const result = await withDeadline(deadline, (signal) =>
        executor.execute(args as CommandArgs, { commandId, releaseDigest, signal }),
      );
      return succeeded(result);
    } catch (error) {
      if (this.#stop.signal.aborted) return undefined;
      return failureOf(error);
    }
  }
}

function succeeded(value: JsonValue): CommandOutcome {
  const result = toStorableJson(value);
  if (JSON.stringify(result).length > MAX_RESULT_LENGTH)
    return { state: 'succeeded', result: { truncated: true, detail: 'The result is too large to be told.' } };
  return { state: 'succeeded', result };
}

function failed(reason: string, detail: string): CommandOutcome {
  return { state: 'failed', reason, detail: toStorableCut(detail, LONGEST_DETAIL) };
}

function failureOf(error: unknown): CommandOutcome {
  if (error instanceof CommandFailure) return failed(error.reason, error.message);
  if (error instanceof DeadlinePassed) return failed('timeout', 'The command did not end in time.');
  return failed('failed', textOf(error));
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
