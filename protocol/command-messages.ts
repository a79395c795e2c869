import { integer, json, number, object, oneOf, optional, sha256Hex, string, uuid, type TypeOf } from '../lib/schema.js';

/** Orders carry at most so many commands, and so many characters of them; the rest waits for the next orders. */
export const MAX_COMMANDS_PER_ORDERS = 20;
export const MAX_COMMAND_LENGTH_PER_ORDERS = 262_144;
/** A report tells of at most so many commands, and in so many characters. */
export const MAX_RESULTS_PER_REPORT = 100;
export const MAX_RESULT_LENGTH_PER_REPORT = 262_144;
/** Of one command's arguments, and of what it came to, serialised. */
export const MAX_ARGS_LENGTH = 8192;
export const MAX_RESULT_LENGTH = 32_768;
/** An agent that lists this capability takes commands. */
export const COMMANDS_CAPABILITY = 'commands';

const durationMs = number(0, Number.MAX_SAFE_INTEGER);

/**
 * A command on its way to an agent. It is carried by every orders until the agent has told that it has it. `number`
 * counts a computer's commands; the agent runs them one after the other, higher `priority` first, then by number.
 * `type` is not looked at here: the agent answers one that it does not know with `failed`, reason `unknown-type`.
 */
export const commandOrderSchema = object({
  id: uuid,
  number: integer(1, Number.MAX_SAFE_INTEGER),
  priority: integer(0, 9),
  type: string({ min: 1, max: 64 }),
  args: json(MAX_ARGS_LENGTH),
  /** After so long the agent does not begin it any more; counted from `managerSentAt`. */
  expiresInMs: durationMs,
  /** Of `isolate`: what the agent knows of the code that ends it at the computer (protocol/release-code.ts). */
  releaseDigest: optional(sha256Hex),
});
export type CommandOrder = TypeOf<typeof commandOrderSchema>;

/** How far an agent is with a command, in this order. The last three end it. */
export const TOLD_STATES = ['received', 'running', 'succeeded', 'failed', 'expired'] as const;
export type ToldState = (typeof TOLD_STATES)[number];

/** What an agent tells of a command; told again until a report that carried it was answered. */
export const commandResultSchema = object({
  id: uuid,
  state: oneOf(...TOLD_STATES),
  /** Why it failed: a code of docs/operations.md. */
  reason: optional(string({ min: 1, max: 64 })),
  detail: optional(string({ max: 1024 })),
  result: optional(json(MAX_RESULT_LENGTH)),
  /** How long it ran, by the agent. */
  durationMs: optional(durationMs),
});
export type CommandResult = TypeOf<typeof commandResultSchema>;
