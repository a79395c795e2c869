import {
  MAX_COMMAND_LENGTH_PER_ORDERS,
  MAX_COMMANDS_PER_ORDERS,
  type CommandOrder,
  type CommandResult,
} from '../../protocol/command-messages.js';
import type { FleetInstant } from '../fleet-clock/fleet-clock.js';
import { isOpen, type Command, type CommandState } from './command.js';

/** A delivered command of which nothing was heard so long after its expiry is given up; what is heard later still counts. */
export const NO_RESULT_MS = 86_400_000;
/** Why a command expired. */
export const NOT_DELIVERED = 'not-delivered';
export const NO_RESULT = 'no-result';
const NOT_BEGUN = 'not-begun';

/**
 * What a report makes of a command; the command itself where it says nothing new. A state never goes back, but for one
 * case: a command that was given up unheard takes the result that arrives after all.
 */
export function tellCommand(command: Command, told: CommandResult, at: FleetInstant): Command {
  const isUnheard = command.state === 'expired' && command.reason === NO_RESULT;
  if (!isOpen(command.state) && !isUnheard) return command;
  const deliveredAt = command.deliveredAt ?? at;
  const known: Command = { ...command, deliveredAt, acknowledgedAt: command.acknowledgedAt ?? at };
  if (told.state === 'received' || told.state === 'running') return isUnheard ? command : begun(known, told, at);
  return ended(known, told, at);
}

function begun(command: Command, { state }: CommandResult, at: FleetInstant): Command {
  if (command.state === 'running') return command;
  if (state === 'running') return { ...command, state: 'running', startedAt: command.startedAt ?? at };
  return { ...command, state: 'delivered' };
}

function ended(command: Command, told: CommandResult, at: FleetInstant): Command {
  const { state, durationMs, reason, detail } = told;
  const startedAt = command.startedAt ?? startOf(command, durationMs, at);
  return {
    ...command,
    state: state as CommandState,
    startedAt: state === 'expired' ? command.startedAt : startedAt,
    endedAt: at,
    reason: reason ?? (state === 'expired' ? NOT_BEGUN : null),
    detail: detail ?? null,
    result: resultOf(command, told, at),
  };
}

/** Of a command that ran between two reports; the agent says how long. */
function startOf({ deliveredAt }: Command, durationMs: number | undefined, at: FleetInstant): FleetInstant | null {
  return durationMs === undefined ? null : Math.floor(Math.max(deliveredAt ?? at, at - durationMs));
}

/**
 * The round trip of a ping is measured here: from its delivery to the report that brought its answer. Two managers may have
 * seen these, whose fleet clocks differ a little.
 */
function resultOf({ type, deliveredAt }: Command, { state, result }: CommandResult, at: FleetInstant): unknown {
  if (type !== 'ping' || state !== 'succeeded') return result ?? null;
  return { ...(result as object | undefined), roundTripMs: Math.max(0, at - (deliveredAt ?? at)) };
}

/** Whether orders are to carry it: the agent has not told that it has it. */
export function isToDeliver(command: Command, at: FleetInstant): boolean {
  if (!command.isDue || command.acknowledgedAt !== null) return false;
  return command.state === 'delivered' || (command.state === 'queued' && command.expiresAt > at);
}

/** Higher priority first, then in the order they were queued. */
export function byTurn(a: Command, b: Command): number {
  return b.priority - a.priority || a.number - b.number;
}

export interface CommandPlan {
  /** What the orders carry, in the order that the agent is to run it. */
  readonly orders: readonly CommandOrder[];
  /** Commands that are not what they were, as they are now. */
  readonly changed: readonly Command[];
  /** The flags of the live row. */
  readonly hasCommands: boolean;
  readonly awaitsResults: boolean;
}

export const NO_COMMANDS: CommandPlan = { orders: [], changed: [], hasCommands: false, awaitsResults: false };

export interface Telling {
  /** The computer's open commands that are due, and those that the report tells of. */
  readonly commands: readonly Command[];
  readonly told: readonly CommandResult[];
  /** Whether the agent takes commands. */
  readonly takesCommands: boolean;
  /** The report was received. */
  readonly receivedAt: FleetInstant;
  /** The answer is made. */
  readonly at: FleetInstant;
}

/** Takes what a report tells of commands, and says what the answer carries. */
export function planCommands({ commands, told, takesCommands, receivedAt, at }: Telling): CommandPlan {
  const tellings = new Map(told.map((telling) => [telling.id, telling]));
  const before = commands.toSorted(byTurn);
  const heard = before.map((command) => {
    const telling = tellings.get(command.id);
    return telling ? tellCommand(command, telling, receivedAt) : command;
  });
  const isDelivered = carried(heard, at);
  const after = heard.map((command) => {
    if (!isDelivered.has(command.id)) return command;
    if (!takesCommands) return refused(command, at);
    return command.state === 'queued' ? { ...command, state: 'delivered' as const, deliveredAt: at } : command;
  });
  return {
    orders: takesCommands ? after.filter(({ id }) => isDelivered.has(id)).map((command) => toOrder(command, at)) : [],
    changed: after.filter((command, index) => command !== before[index]),
    ...flagsOf(after, at),
  };
}

/** The live row's flags by the commands that are known of a computer. */
export function flagsOf(
  commands: readonly Command[],
  at: FleetInstant,
): Pick<CommandPlan, 'hasCommands' | 'awaitsResults'> {
  const isAwaited = ({ state, acknowledgedAt }: Command): boolean => isOpen(state) && acknowledgedAt !== null;
  return {
    hasCommands: commands.some((command) => isToDeliver(command, at)),
    awaitsResults: commands.some(isAwaited),
  };
}

/** As many as fit, in turn, at least one: the rest rides on the next orders. */
function carried(commands: readonly Command[], at: FleetInstant): ReadonlySet<string> {
  const waiting = commands.filter((command) => isToDeliver(command, at)).slice(0, MAX_COMMANDS_PER_ORDERS);
  let length = 0;
  const fitting = waiting.filter((command, index) => {
    length += JSON.stringify(command.args).length;
    return index === 0 || length <= MAX_COMMAND_LENGTH_PER_ORDERS;
  });
  return new Set(fitting.map(({ id }) => id));
}

function toOrder({ id, number, priority, type, args, expiresAt }: Command, at: FleetInstant): CommandOrder {
  return { id, number, priority, type, args, expiresInMs: Math.max(0, Math.floor(expiresAt - at)) };
}

/** An agent of an earlier version leaves commands unread. */
function refused(command: Command, at: FleetInstant): Command {
  const detail = 'This version of the agent takes no commands.';
  return { ...command, state: 'failed', deliveredAt: at, endedAt: at, reason: 'not-supported', detail };
}
