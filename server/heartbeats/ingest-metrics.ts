/** Counters of the ingest path of one process; each only grows. */
export interface IngestMetrics {
  accepted: number;
  repeats: number;
  older: number;
  removed: number;
  revoked: number;
  /** Turned away by 503: queue full, shutting down, database away. */
  refused: number;
  /** Refused alone because the database would not take what they carry. */
  poisoned: number;
  /** Failed by a fault of ours. */
  failed: number;
  batches: number;
  statements: number;
  retries: number;
  events: number;
  /** Left at the agents by `eventRateLimitPerMinute`; counted each time they come too early. */
  eventsHeldBack: number;
  /** Identity tokens: the one last given, none, any other. */
  tokensCurrent: number;
  tokensMissing: number;
  tokensOther: number;
  enrollments: number;
  enrollmentsRefused: number;
  identityMismatches: number;
  /** Turned away by 429: one computer or address over its own limits. */
  throttled: number;
}

export function createIngestMetrics(): IngestMetrics {
  return {
    accepted: 0,
    repeats: 0,
    older: 0,
    removed: 0,
    revoked: 0,
    refused: 0,
    poisoned: 0,
    failed: 0,
    batches: 0,
    statements: 0,
    retries: 0,
    events: 0,
    eventsHeldBack: 0,
    tokensCurrent: 0,
    tokensMissing: 0,
    tokensOther: 0,
    enrollments: 0,
    enrollmentsRefused: 0,
    identityMismatches: 0,
    throttled: 0,
  };
}
