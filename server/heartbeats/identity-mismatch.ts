import type { Actor } from '../access/actor.js';
import type { AuditLog } from '../audit/audit.js';
import type { PoolUnitOfWork } from '../database/in-transaction.js';
import { sqlOfClient } from '../database/sql.js';
import type { EventWriter } from '../events/event-writer.js';
import type { FleetInstant } from '../fleet-clock/fleet-clock.js';
import type { IngestMetrics } from './ingest-metrics.js';

/** A report that names another computer than its certificate; nothing of it is stored. */
export interface IdentityMismatch {
  readonly computerId: string;
  readonly claimedId: string;
  readonly address: string | null;
  readonly receivedAt: FleetInstant;
}

export interface MismatchDeps {
  readonly inTransaction: PoolUnitOfWork;
  readonly audit: AuditLog;
  readonly events: EventWriter;
  readonly metrics: IngestMetrics;
}

const REMEMBERED_COMPUTERS = 10_000;
/** One row per computer and claim in this time: a rogue agent shall not fill the audit log. */
const QUIET_MS = 60_000;

/** Records that a computer named another one: an audit row and an event, in one transaction. */
export function createMismatchRecorder(deps: MismatchDeps): (mismatch: IdentityMismatch) => Promise<void> {
  const recorded = new Map<string, number>();
  return async (mismatch) => {
    const { computerId, receivedAt } = mismatch;
    deps.metrics.identityMismatches += 1;
    const last = recorded.get(computerId);
    if (last !== undefined && receivedAt - last < QUIET_MS) return;
    recorded.delete(computerId);
    recorded.set(computerId, receivedAt);
    const [oldest] = recorded.size > REMEMBERED_COMPUTERS ? recorded.keys() : [];
    if (oldest !== undefined) recorded.delete(oldest);
    try {
      await record(deps, mismatch);
    } catch (error) {
      recorded.delete(computerId);
      throw error;
    }
  };
}

function record(deps: MismatchDeps, { computerId, claimedId, address, receivedAt }: IdentityMismatch): Promise<void> {
  return deps.inTransaction(async (client) => {
    const sql = sqlOfClient(client);
    await deps.audit.append(sql, {
      actor: computerActor(computerId, address),
      action: 'report.identity-mismatch',
      subjectType: 'computer',
      subjectId: claimedId,
      after: { certificateOf: computerId, address },
    });
    await deps.events.appendManagerEvents(sql, [
      {
        computerId,
        at: receivedAt,
        kind: 'identity-mismatch',
        severity: 'high',
        message: 'A report named another computer than its certificate; nothing of it was stored.',
        data: { claimedId, address },
      },
    ]);
  });
}

function computerActor(computerId: string, sourceAddress: string | null): Actor {
  return { kind: 'manager', id: `computer/${computerId}`, name: 'agent', role: 'auditor', sourceAddress };
}
