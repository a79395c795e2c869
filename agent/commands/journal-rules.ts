import {
  MAX_RESULT_LENGTH_PER_REPORT,
  MAX_RESULTS_PER_REPORT,
  TOLD_STATES,
  type CommandOrder,
  type CommandResult,
  type ToldState,
} from '../../protocol/command-messages.js';
import { isCommandType, rulesOf } from '../../protocol/command-types.js';

/** Whoever can fill a disk must not be able to keep a computer from being isolated, or from being released. */
export function runsWithoutDisk({ order: { type } }: JournalEntry): boolean {
  return isCommandType(type) && rulesOf(type).runsWithoutDisk === true;
}

/** How a command ended, as it is told. */
export type CommandOutcome = Omit<CommandResult, 'id'>;

/** A command that this agent has, from before it runs until long after it ended. */
export interface JournalEntry {
  readonly order: CommandOrder;
  /** By the manager's clock, Unix milliseconds: it is not begun later. */
  readonly expiresAt: number;
  /** In the order that they came. */
  readonly arrival: number;
  readonly state: 'waiting' | 'running' | 'ended';
  readonly outcome?: CommandOutcome | undefined;
  /** What a report that was answered told of it; undefined where nothing did, or the manager asks again. */
  readonly told?: ToldState | undefined;
}

/** Ended commands whose results the manager has: the newest are remembered, so that a repeat is answered. */
export const MOST_REMEMBERED = 500;

/** What is to be told of it now. */
export function tellingOf({ order: { id }, state, outcome }: JournalEntry): CommandResult {
  if (state === 'ended') return { id, ...(outcome ?? { state: 'failed', reason: 'interrupted' }) };
  return { id, state: state === 'running' ? 'running' : 'received' };
}

export function isUntold(entry: JournalEntry): boolean {
  const { told } = entry;
  return told === undefined || rankOf(tellingOf(entry).state) > rankOf(told);
}

/** `received`, `running`, then every end. */
function rankOf(state: ToldState): number {
  return Math.min(2, TOLD_STATES.indexOf(state));
}

/** What a report tells: as much as fits, the first that came first, at least one. */
export function tellingsOf(entries: Iterable<JournalEntry>): CommandResult[] {
  const untold = [...entries].filter(isUntold).toSorted((a, b) => a.arrival - b.arrival);
  let length = 0;
  return untold
    .slice(0, MAX_RESULTS_PER_REPORT)
    .map(tellingOf)
    .filter((telling, index) => {
      length += JSON.stringify(telling).length;
      return index === 0 || length <= MAX_RESULT_LENGTH_PER_REPORT;
    });
}

/** The next to run: higher priority first, then in the order they were queued. */
export function nextOf(entries: Iterable<JournalEntry>): JournalEntry | undefined {
  const waiting = [...entries].filter(({ state }) => state === 'waiting');
  return waiting.toSorted(
    (a, b) => b.order.priority - a.order.priority || a.order.number - b.order.number || a.arrival - b.arrival,
  )[0];
}

/** Ended and told, beyond what is remembered: the oldest. What the manager has not heard of is never among them. */
export function forgottenOf(entries: Iterable<JournalEntry>, most = MOST_REMEMBERED): JournalEntry[] {
  const settled = [...entries].filter((entry) => entry.state === 'ended' && !isUntold(entry));
  return settled.toSorted((a, b) => a.arrival - b.arrival).slice(0, Math.max(0, settled.length - most));
}
