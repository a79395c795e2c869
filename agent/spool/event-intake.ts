import { invalidFields, type FieldError } from '../../lib/problem.js';
import { escapePointer } from '../../lib/schema.js';
import { LANES, SEVERITIES, type AgentEvent, type Lane, type Severity } from '../../protocol/heartbeat-messages.js';
import { toStorableCut, toStorableJson } from '../storable.js';

/** What a local program or a part of the agent hands in. */
export interface IncomingEvent {
  readonly kind: string;
  readonly severity: Severity;
  readonly message: string;
  readonly code?: number | undefined;
  readonly data?: unknown;
}

export type SpoolableEvent = Omit<AgentEvent, 'sequence'>;

export const MAX_MESSAGE_LENGTH = 8192;
export const MAX_DATA_LENGTH = 32_768;
/** The manager refuses bodies deeper than 64 levels; the report around an event takes six of them. */
const MAX_DATA_DEPTH = 48;

/**
 * Makes an event that the manager will take, so that no report is ever refused because of one: strings are made
 * storable, the message is cut; data that is too large, too deep or has a `__proto__` key throws `request-invalid`.
 */
export function toSpoolable(event: IncomingEvent, occurredAt: number): SpoolableEvent {
  const errors: FieldError[] = [];
  if (!SEVERITIES.includes(event.severity))
    errors.push({ pointer: '#/severity', detail: `must be one of ${SEVERITIES.join(', ')}` });
  const kind = toStorableCut(event.kind, 64);
  if (kind === '') errors.push({ pointer: '#/kind', detail: 'must not be empty' });
  const data = event.data === undefined ? undefined : spoolableData(event.data, errors);
  if (errors.length > 0) throw invalidFields(errors);
  return {
    occurredAt,
    kind,
    severity: event.severity,
    message: toStorableCut(event.message, MAX_MESSAGE_LENGTH),
    ...(event.code === undefined ? {} : { code: event.code }),
    ...(data === undefined ? {} : { data }),
  };
}

/** Data as the manager takes it; adds to `errors` what is wrong with it. */
export function spoolableData(data: unknown, errors: FieldError[]): unknown {
  if (!isShallowEnough(data, MAX_DATA_DEPTH)) {
    errors.push({
      pointer: '#/data',
      detail: `must have at most ${MAX_DATA_DEPTH} levels and no "__proto__" key`,
    });
    return undefined;
  }
  const storable = toStorableJson(data);
  if (JSON.stringify(storable).length > MAX_DATA_LENGTH)
    errors.push({ pointer: '#/data', detail: `must serialise to at most ${MAX_DATA_LENGTH} characters` });
  return storable;
}

function isShallowEnough(value: unknown, levels: number): boolean {
  if (typeof value !== 'object' || value === null) return true;
  if (levels === 0 || Object.hasOwn(value, '__proto__')) return false;
  return Object.values(value).every((member) => isShallowEnough(member, levels - 1));
}

/**
 * JSON has numbers that a double has not: `1e400` was read as infinity, which would be stored as null. Of the first of
 * them; the data must be shallow.
 */
export function numberFault(data: unknown, pointer: string): FieldError | undefined {
  if (typeof data === 'number')
    return Number.isFinite(data) ? undefined : { pointer, detail: 'must be a number within the range of a double' };
  if (typeof data !== 'object' || data === null) return undefined;
  for (const [name, member] of Object.entries(data)) {
    const fault = numberFault(member, `${pointer}/${escapePointer(name)}`);
    if (fault) return fault;
  }
  return undefined;
}

export function isLane(text: string): text is Lane {
  return LANES.includes(text as Lane);
}

/** Narrows untrusted input of the local socket. */
export function isSeverity(value: unknown): value is Severity {
  return SEVERITIES.includes(value as Severity);
}
