import { containing, keysetOf, mapPage, pageOf, parsePage, type ListOrder, type Page } from '../admin-api/page.js';
import type { Sql } from '../database/sql.js';
import type { AuditQuery, AuditRowReply } from './audit-dto.js';

export const AUDIT_ORDER: ListOrder = {
  list: 'audit',
  keys: { at: { column: 'audit_log.at', type: 'timestamptz' } },
  default: '-at',
  id: 'audit_log.id',
};

interface AuditRow {
  readonly id: string;
  readonly at: Date;
  readonly actor_id: string;
  readonly actor_name: string;
  readonly source_address: string | null;
  readonly action: string;
  readonly subject_type: string;
  readonly subject_id: string | null;
  readonly before: unknown;
  readonly after: unknown;
}

/** One page of the audit log, newest first unless sorted otherwise. `q` finds part of an actor's or action's name. */
export async function listAudit(sql: Sql, query: AuditQuery): Promise<Page<AuditRowReply>> {
  const page = parsePage(query, AUDIT_ORDER);
  const { q, action, actorId, subjectId } = query;
  const filters = [q === undefined ? null : containing(q), action ?? null, actorId ?? null, subjectId ?? null];
  const keyset = keysetOf(page, filters.length + 2);
  const rows = await sql.query<AuditRow>(
    `SELECT id, at, actor_id, actor_name, source_address, action, subject_type, subject_id, before, after
     FROM audit_log
     WHERE ($1::text IS NULL OR action ILIKE $1 OR actor_name ILIKE $1)
       AND ($2::text IS NULL OR action = $2)
       AND ($3::text IS NULL OR actor_id = $3)
       AND ($4::text IS NULL OR subject_id = $4)
       AND ${keyset.condition}
     ORDER BY ${keyset.orderBy} LIMIT $5`,
    [...filters, page.limit + 1, ...keyset.parameters],
  );
  return mapPage(
    pageOf(rows, page, (row) => [row.at.toISOString(), row.id]),
    toReply,
  );
}

function toReply(row: AuditRow): AuditRowReply {
  return {
    id: row.id,
    at: row.at.toISOString(),
    actorId: row.actor_id,
    actorName: row.actor_name,
    sourceAddress: row.source_address,
    action: row.action,
    subjectType: row.subject_type,
    subjectId: row.subject_id,
    before: row.before,
    after: row.after,
  };
}
