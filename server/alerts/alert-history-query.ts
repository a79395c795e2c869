import {
  keysetOf,
  type ListOrder,
  mapPage,
  type Page,
  pageOf,
  parsePage,
  type PlainPageQuery,
} from '../admin-api/page.js';
import type { Sql } from '../database/sql.js';
import type { AlertActReply } from './alert-dto.js';

export const ALERT_ACT_ORDER: ListOrder = {
  list: 'alert-history',
  keys: { at: { column: 'audit_log.at', type: 'timestamptz' } },
  default: '-at',
  id: 'audit_log.id',
};

interface ActRow {
  readonly id: string;
  readonly at: Date;
  readonly actor_id: string;
  readonly actor_name: string;
  readonly action: string;
  readonly before: { readonly comment?: string | null } | null;
  readonly after: {
    readonly comment?: string | null;
    readonly until?: string;
    readonly assignee?: string | null;
  } | null;
}

/** What was done to one alert, newest first unless sorted otherwise. */
export async function listAlertActs(sql: Sql, alertId: string, query: PlainPageQuery): Promise<Page<AlertActReply>> {
  const page = parsePage(query, ALERT_ACT_ORDER);
  const keyset = keysetOf(page, 3);
  const rows = await sql.query<ActRow>(
    `SELECT audit_log.id, audit_log.at, audit_log.actor_id, audit_log.actor_name, audit_log.action,
       audit_log.before, audit_log.after
     FROM audit_log WHERE audit_log.subject_id = $1 AND audit_log.subject_type = 'alert' AND ${keyset.condition}
     ORDER BY ${keyset.orderBy} LIMIT $2`,
    [alertId, page.limit + 1, ...keyset.parameters],
  );
  return mapPage(
    pageOf(rows, page, (row) => [row.at.toISOString(), row.id]),
    toReply,
  );
}

function toReply({ id, at, actor_id: actorId, actor_name: actorName, action, before, after }: ActRow): AlertActReply {
  return {
    id,
    at: at.toISOString(),
    action: action.replace(/^alert\./, ''),
    actorId,
    actorName,
    comment: saidWith({ action, before, after }),
    until: after?.until ?? null,
    assignee: after?.assignee ?? null,
  };
}

/** What was said with an act: every act keeps the alert's last comment, whoever said that. */
function saidWith({ action, before, after }: Pick<ActRow, 'action' | 'before' | 'after'>): string | null {
  const isSaid = action === 'alert.commented' || after?.comment !== before?.comment;
  return isSaid ? (after?.comment ?? null) : null;
}
