import type { FleetInstant } from '../fleet-clock/fleet-clock.js';
import type { Sql } from '../database/sql.js';

/** Why a second was not listened. */
export type DeafCause = 'process-down' | 'database-away' | 'refused-heartbeats' | 'stalled';

/** Half-open span of fleet time in which no listener could have heard a report. */
export interface DeafSpan {
  readonly from: FleetInstant;
  readonly until: FleetInstant;
}

/** This process's side of the listening ledger (design.md §5). */
export interface ListeningLedger {
  /** Spans in which every listener was deaf, ascending, merged; the newest known to this process. */
  spans(): readonly DeafSpan[];
  /** A heartbeat was turned away by 503 or could not be stored: this second is not listened. */
  noteDeaf(cause: DeafCause): void;
  /**
   * Renews this process's own proof inside the caller's transaction, after everything received by `at` is committed
   * or part of it. Answers the latest instant, at most `at`, through which every live listener has proven that its
   * reports are stored; null while this process is deaf, or where nobody listens.
   */
  proveThrough(sql: Sql, at: FleetInstant): Promise<FleetInstant | null>;
}

/** What the ledger needs of the ingest path. */
export interface IngestProof {
  /** Resolves when every report received before the call is answered: committed or turned away. */
  settled(): Promise<void>;
}
