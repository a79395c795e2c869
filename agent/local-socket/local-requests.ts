import { Problem } from '../../lib/problem.js';
import { integer, object, oneOf, optional, readBy, string, type Schema } from '../../lib/schema.js';
import { SEVERITIES } from '../../protocol/heartbeat-messages.js';
import {
  proxyChangeSchema,
  type ProxyChange,
  type ProxyChangeResult,
  type ProxyList,
} from '../proxies/proxy-control.js';
import { MAX_MESSAGE_LENGTH, numberFault } from '../spool/event-intake.js';
import { describe } from '../spool/durable-store.js';
import { PartlyStored, type AppendedRange, type Spool } from '../spool/spool.js';
import type { AgentStatus } from '../status.js';

export const EMIT_KINDS = ['detection', 'log', 'metric'] as const;
export const MAX_EMIT_COUNT = 100_000;

const eventData: Schema<unknown> = (value, pointer, errors) => {
  const fault = numberFault(value, pointer);
  if (fault) errors.push(fault);
  return value;
};
/** Not `string`: what is not storable is replaced at intake, not refused. */
const messageText: Schema<string> = (value, pointer, errors) => {
  if (typeof value === 'string' && value.length <= MAX_MESSAGE_LENGTH) return value;
  errors.push({ pointer, detail: `must be a string of at most ${MAX_MESSAGE_LENGTH} characters` });
  return undefined;
};

const requestSchema = object({ op: string({ max: 16 }) });
const releaseSchema = object({ code: string({ min: 1, max: 64 }) });
const emitSchema = object({
  kind: oneOf(...EMIT_KINDS),
  severity: oneOf(...SEVERITIES),
  message: messageText,
  data: optional(eventData),
  count: optional(integer(1, MAX_EMIT_COUNT)),
});

/**
 * The operations of the local socket: `emit` answers after the records are durable, `status` and `proxies` at once,
 * `proxy-change` after its trial.
 */
export function createLocalHandler(deps: {
  readonly spool: Spool;
  readonly status: () => AgentStatus;
  /** Stopped, nothing is taken in. */
  readonly isCollecting: () => boolean;
  /** Ends an isolation by its code. */
  readonly release: (code: string) => Promise<{ readonly released: true }>;
  readonly proxies: { list(): ProxyList; change(change: ProxyChange): Promise<ProxyChangeResult> };
}): (
  request: unknown,
) => Promise<AppendedRange | AgentStatus | ProxyList | ProxyChangeResult | { readonly released: true }> {
  return async (request) => {
    const { op } = readBy(requestSchema, request);
    if (op === 'status') return deps.status();
    if (op === 'proxies') return deps.proxies.list();
    if (op === 'proxy-change') return deps.proxies.change(readBy(proxyChangeSchema, request));
    if (op === 'release') return deps.release(readBy(releaseSchema, request).code);
    if (op !== 'emit') throw new Problem('request-invalid', { detail: `There is no operation "${op}".` });
    if (!deps.isCollecting())
      throw new Problem('collection-stopped', { detail: 'The manager has stopped collection on this computer.' });
    return emit(deps.spool, request);
  };
}

async function emit(spool: Spool, request: unknown): Promise<AppendedRange> {
  const { kind, severity, message, data, count } = readBy(emitSchema, request);
  try {
    return await spool.append(kind, { kind, severity, message, data }, count ?? 1);
  } catch (error) {
    if (error instanceof Problem) throw error;
    const detail = error instanceof PartlyStored ? describe(error) : `Nothing was stored: ${describe(error)}`;
    throw new Problem('spool-unavailable', { detail }, error);
  }
}
