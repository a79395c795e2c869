import type { FleetInstant } from '../fleet-clock/fleet-clock.js';
import type { Sql } from '../database/sql.js';

/** Why nothing was listened to. */
export const DEAF_CAUSES = [
  /** No process ran under this name. */
  'process-down',
  /** Reports could not be stored. */
  'database-away',
  /** Heartbeats were turned away by 503, or their connections shed. */
  'refused-heartbeats',
  /** The event loop did not turn. */
  'stalled',
  /** The whole process did not run: SIGSTOP, a frozen group, a starved host. */
  'paused',
  /** The machine slept. */
  'suspended',
  /** Connections to the agent port got no answer. */
  'not-accepting',
  /** Nearly all computers fell silent together, and the manager's own path was found broken. */
  'self-suspicion',
] as const;
export type DeafCause = (typeof DEAF_CAUSES)[number];

/** Half-open span of fleet time in which no listener could have heard a report. */
export interface DeafSpan {
  readonly from: FleetInstant;
  readonly until: FleetInstant;
}

export interface NamedDeafSpan extends DeafSpan {
  readonly cause: DeafCause;
}

/** This process's side of the listening ledger (design.md §5). */
export interface ListeningLedger {
  /** Spans in which every listener was deaf, ascending, merged; the newest known to this process. */
  spans(): readonly DeafSpan[];
  /** Those, and until now the time that this process is deaf at present, where no other listens beside it. */
  spansUntilNow(): readonly DeafSpan[];
  /** A heartbeat was turned away by 503 or could not be stored: this second is not listened. */
  noteDeaf(cause: DeafCause): void;
  /**
   * Renews this process's own proof inside the caller's transaction, after everything received by `at` is committed
   * or part of it. Answers the latest instant, at most `at`, through which every live listener has proven that its
   * reports are stored; null while this process is deaf, or where nobody listens.
   */
  proveThrough(sql: Sql, at: FleetInstant): Promise<FleetInstant | null>;
}

/** What the ledger is told by those who look at the process from outside its event loop. */
export interface DeafConditions {
  /**
   * Nothing is listened to from `since` on, which may lie before what was proven, until `endDeaf`. A cause that has begun
   * keeps its beginning.
   */
  beginDeaf(cause: DeafCause, since: FleetInstant): void;
  /** None begun is no error. */
  endDeaf(cause: DeafCause): void;
}

/** What the ledger needs of the ingest path. */
export interface IngestProof {
  /** Resolves when every report received before the call is answered: committed or turned away. */
  settled(): Promise<void>;
}
