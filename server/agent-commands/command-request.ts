import { hash } from 'node:crypto';
import { canonicalJson, type JsonValue } from '../../lib/canonical-json.js';
import { parseRfc3339 } from '../../lib/clock.js';
import { invalidFields, type FieldError } from '../../lib/problem.js';
import { MAX_ARGS_LENGTH } from '../../protocol/command-messages.js';
import { argumentFaults, COMMAND_TYPE_NAMES, isCommandType } from '../../protocol/command-types.js';
import type { FleetClock, FleetInstant } from '../fleet-clock/fleet-clock.js';

const DAY_MS = 86_400_000;
const DEFAULT_LIFE_MS = 7 * DAY_MS;
const LONGEST_LIFE_DAYS = 30;
const LONGEST_DELAY_DAYS = 90;

export interface CommandRequest {
  readonly type: string;
  readonly args?: unknown;
  readonly notBefore?: string;
  readonly expiresAt?: string;
  readonly priority?: number;
}

/** A request that may be queued. */
export interface CheckedRequest {
  readonly type: string;
  readonly args: unknown;
  readonly priority: number;
  readonly notBefore: FleetInstant | null;
  readonly expiresAt: FleetInstant;
  /** The same for the same request. */
  readonly digest: Buffer;
}

/** Throws `request-invalid` with every bad field, at pointers below `pointer`, and those that were found beside it. */
export function checkRequest(
  request: CommandRequest,
  clock: Pick<FleetClock, 'fleet' | 'toWall' | 'toFleet'>,
  { pointer = '#', beside = [] }: { readonly pointer?: string; readonly beside?: readonly FieldError[] } = {},
): CheckedRequest {
  const now = clock.toWall(clock.fleet());
  const times = timeFaults(request, { now, pointer, isSound: () => true });
  const errors = [...beside, ...kindFaults(request, pointer), ...times];
  if (errors.length > 0) throw invalidFields(errors);
  const notBefore = wallOf(request.notBefore);
  const begins = Math.max(now, notBefore ?? now);
  const expiresAt = wallOf(request.expiresAt) ?? begins + DEFAULT_LIFE_MS;
  const { type, args = {}, priority = 0 } = request;
  return {
    type,
    args,
    priority,
    notBefore: notBefore === null ? null : Math.floor(clock.toFleet(notBefore)),
    expiresAt: Math.floor(clock.toFleet(expiresAt)),
    digest: digestOf(request),
  };
}

const wallOf = (text: string | undefined): number | null =>
  text === undefined ? null : (parseRfc3339(text) ?? Number.NaN);

/** What is wrong with the type and what it takes. */
export function kindFaults({ type, args = {} }: CommandRequest, pointer: string): FieldError[] {
  if (!isCommandType(type))
    return [{ pointer: `${pointer}/type`, detail: `must be one of ${COMMAND_TYPE_NAMES.join(', ')}` }];
  if (JSON.stringify(args).length > MAX_ARGS_LENGTH)
    return [{ pointer: `${pointer}/args`, detail: `must serialise to at most ${MAX_ARGS_LENGTH} characters` }];
  return argumentFaults(type, args, `${pointer}/args`);
}

export interface JudgedTimes {
  /** Wall milliseconds. */
  readonly now: number;
  readonly pointer: string;
  readonly isSound: (pointer: string) => boolean;
}

/** What is wrong with the instants of a request, as far as each is one. */
export function timeFaults(
  request: Pick<CommandRequest, 'notBefore' | 'expiresAt'>,
  { now, pointer, isSound }: JudgedTimes,
): FieldError[] {
  const notBefore = wallOf(request.notBefore);
  const begins = Math.max(now, notBefore ?? now);
  const isLateBegin = notBefore !== null && notBefore > now + LONGEST_DELAY_DAYS * DAY_MS;
  const errors = isLateBegin
    ? [{ pointer: `${pointer}/notBefore`, detail: `must be at most ${LONGEST_DELAY_DAYS} days ahead` }]
    : [];
  const expiresAt = wallOf(request.expiresAt);
  if (expiresAt === null) return errors;
  const isFromBegin = isSound(`${pointer}/notBefore`);
  const detail = expiresAt <= now ? 'must be in the future' : isFromBegin ? lifeFault(begins, expiresAt) : undefined;
  return detail === undefined ? errors : [...errors, { pointer: `${pointer}/expiresAt`, detail }];
}

function lifeFault(begins: number, expiresAt: number): string | undefined {
  if (expiresAt <= begins) return 'must be after notBefore';
  const isLong = expiresAt > begins + LONGEST_LIFE_DAYS * DAY_MS;
  return isLong ? `must be at most ${LONGEST_LIFE_DAYS} days after the command may begin` : undefined;
}

/** Over what was asked for, so that a key that is used again for something else is noticed. */
export function digestOf(value: object): Buffer {
  return hash('sha256', canonicalJson(JSON.parse(JSON.stringify(value)) as JsonValue), 'buffer');
}
