import type { Sql } from '../database/sql.js';
import type { Actor } from '../access/actor.js';

/** One fact of the audit log, inserted in the transaction of the change it tells of. Never carries a secret. */
export interface AuditEntry {
  readonly actor: Actor;
  /** `noun.verb-in-the-past`: `policy.created`, `computer.revoked`, `session.refused`. */
  readonly action: string;
  readonly subjectType: string;
  readonly subjectId: string | null;
  readonly before?: unknown;
  readonly after?: unknown;
}

export interface AuditLog {
  append(sql: Sql, entry: AuditEntry): Promise<void>;
  /** Many in one statement. */
  appendAll(sql: Sql, entries: readonly AuditEntry[]): Promise<void>;
}
