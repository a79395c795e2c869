import { Problem } from '../../lib/problem.js';
import { createBoundedMap, createTokenBucket, type TokenBucket } from '../../lib/token-bucket.js';
import type { Orders, Report } from '../../protocol/heartbeat-messages.js';

/** What one computer may use of the agent port, over all its certificates and connections. */
export interface PeerLimitsOptions {
  readonly requestsPerSecond?: number;
  readonly requestBurst?: number;
  /** A report's events, or its bytes by `BYTES_PER_EVENT`, whichever is more. */
  readonly eventsPerSecond?: number;
  readonly eventBurst?: number;
  readonly connectionsPerComputer?: number;
  /** Connections that show no certificate of ours, per address (of IPv6 its /64). */
  readonly connectionsPerAddress?: number;
}

/** `refuse`: its requests are answered 429 and it is closed; `cut`: it is closed at once. */
export type ConnectionAdmission = 'open' | 'refuse' | 'cut';

export interface PeerLimits {
  /** Counts a connection of a key until `leave`. */
  enter(key: ConnectionKey): ConnectionAdmission;
  leave(key: ConnectionKey): void;
  /** Counts a request before its body is read; throws `too-many-requests`. */
  admitRequest(computerId: string): void;
  /** Counts a report's events; throws `too-many-requests`. A report without events always passes. */
  admitEvents(computerId: string, report: Report, bytes: number): void;
  /** Orders a computer with a backlog to come back when its next full report will be taken. */
  pace(computerId: string, report: Report, orders: Orders): Orders;
}

export type ConnectionKey = { readonly computerId: string } | { readonly address: string };

export const PEER_LIMITS: Required<PeerLimitsOptions> = {
  requestsPerSecond: 50,
  requestBurst: 200,
  eventsPerSecond: 500,
  eventBurst: 5000,
  connectionsPerComputer: 20,
  connectionsPerAddress: 200,
};
export const BYTES_PER_EVENT = 4096;
const MOST_COMPUTERS = 100_000;
const SHORTEST_PAUSE_MS = 1000;
const LONGEST_RETRY_SECONDS = 60;

export function createPeerLimits(options: PeerLimitsOptions, now: () => number): PeerLimits {
  const limits = { ...PEER_LIMITS, ...options };
  const requests = createBoundedMap(MOST_COMPUTERS, () =>
    createTokenBucket(limits.requestsPerSecond, limits.requestBurst),
  );
  const events = createBoundedMap(MOST_COMPUTERS, () => createTokenBucket(limits.eventsPerSecond, limits.eventBurst));
  return {
    ...countConnections(limits),
    admitRequest(computerId) {
      take(requests(computerId), { now: now(), tokens: 1, what: 'requests' });
    },
    admitEvents(computerId, report, bytes) {
      const count = eventsOf(report);
      if (count > 0)
        take(events(computerId), { now: now(), tokens: Math.max(count, bytes / BYTES_PER_EVENT), what: 'events' });
    },
    pace(computerId, report, orders) {
      const full = orders.eventQuota.maxEventsPerReport;
      const short = full - events(computerId).left(now());
      // Only who carried much has a backlog; a quiet computer keeps its interval.
      if (!orders.eventQuota.drain || short <= 0 || eventsOf(report) * 2 < full) return orders;
      const pauseMs = Math.max(SHORTEST_PAUSE_MS, Math.ceil((short * 1000) / limits.eventsPerSecond));
      const nextContactInMs = Math.min(orders.nextContactInMs, pauseMs);
      return { ...orders, nextContactInMs, eventQuota: { ...orders.eventQuota, drain: false } };
    },
  };
}

function countConnections(limits: Required<PeerLimitsOptions>): Pick<PeerLimits, 'enter' | 'leave'> {
  const open = new Map<string, number>();
  return {
    enter(key) {
      const [name, most] =
        'computerId' in key
          ? [key.computerId, limits.connectionsPerComputer]
          : [key.address, limits.connectionsPerAddress];
      const count = (open.get(name) ?? 0) + 1;
      open.set(name, count);
      if (count <= most) return 'open';
      return count <= 2 * most ? 'refuse' : 'cut';
    },
    leave(key) {
      const name = 'computerId' in key ? key.computerId : key.address;
      const left = (open.get(name) ?? 1) - 1;
      if (left > 0) open.set(name, left);
      else open.delete(name);
    },
  };
}

function eventsOf({ lanes }: Report): number {
  return lanes.reduce((sum, { events }) => sum + events.length, 0);
}

function take(
  bucket: TokenBucket,
  { now, tokens, what }: { readonly now: number; readonly tokens: number; readonly what: string },
): void {
  const waitMs = bucket.waitMs(now);
  if (waitMs > 0) throw tooMany(`This computer sends too many ${what}.`, waitMs);
  bucket.take(now, tokens);
}

export function tooMany(detail: string, waitMs: number): Problem {
  const retryAfterSeconds = Math.min(LONGEST_RETRY_SECONDS, Math.max(1, Math.ceil(waitMs / 1000)));
  return new Problem('too-many-requests', { detail, retryAfterSeconds });
}
