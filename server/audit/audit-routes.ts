import type { Clock } from '../../lib/clock.js';
import { pageSchemaOf } from '../admin-api/dto-schemas.js';
import { defineRoute, type RouteDefinition } from '../admin-api/route.js';
import type { Sql } from '../database/sql.js';
import { AuditQuery, AuditRowReply, AuditVerificationQuery, AuditVerificationReply } from './audit-dto.js';
import { AUDIT_ORDER, listAudit } from './audit-query.js';
import { parseCheckpoint, renderCheckpoint } from './seal-rules.js';
import { verifyAudit, type AuditVerification } from './verify-audit.js';

export interface AuditRoutesDeps {
  readonly sql: Sql;
  readonly clock: Pick<Clock, 'wall'>;
}

export function auditRoutes({ sql, clock }: AuditRoutesDeps): readonly RouteDefinition[] {
  const verify = oneAtATime(sql, clock);
  return [
    defineRoute({
      method: 'get',
      path: '/audit',
      permission: 'auditor',
      summary: 'What was changed, by whom and from where',
      tag: 'audit',
      query: AuditQuery,
      list: AUDIT_ORDER,
      reply: { status: 200, body: pageSchemaOf(AuditRowReply) },
      handle: async ({ query }) => ({ body: await listAudit(sql, query) }),
    }),
    defineRoute({
      method: 'get',
      path: '/audit/verification',
      permission: 'auditor',
      summary: 'Follow the chain of seals over the whole log',
      tag: 'audit',
      query: AuditVerificationQuery,
      reply: { status: 200, body: AuditVerificationReply },
      handle: async ({ query }) => ({ body: toVerificationReply(await verify(query.checkpoint)) }),
    }),
  ];
}

/** The whole log is read: one verification at a time, the others wait for their turn. */
function oneAtATime(
  sql: Sql,
  clock: Pick<Clock, 'wall'>,
): (checkpoint: string | undefined) => Promise<AuditVerification> {
  let before: Promise<unknown> = Promise.resolve();
  return (text) => {
    const checkpoint = text === undefined ? undefined : parseCheckpoint(text);
    const mine = before.then(() =>
      verifyAudit(sql, { checkpoints: checkpoint ? [checkpoint] : [], now: clock.wall() }),
    );
    before = mine.catch(() => undefined);
    return mine;
  };
}

function toVerificationReply({ checkpoint, ...verification }: AuditVerification): AuditVerificationReply {
  const sound = verification.fault === null;
  return { sound, ...verification, checkpoint: checkpoint && renderCheckpoint(checkpoint) };
}
