import { pageSchemaOf } from '../admin-api/dto-schemas.js';
import { defineRoute, type RouteDefinition } from '../admin-api/route.js';
import type { Sql } from '../database/sql.js';
import { AuditQuery, AuditRowReply } from './audit-dto.js';
import { listAudit } from './audit-query.js';

export function auditRoutes({ sql }: { readonly sql: Sql }): readonly RouteDefinition[] {
  return [
    defineRoute({
      method: 'get',
      path: '/audit',
      permission: 'auditor',
      summary: 'What was changed, by whom and from where',
      tag: 'audit',
      query: AuditQuery,
      reply: { status: 200, body: pageSchemaOf(AuditRowReply) },
      handle: async ({ query }) => ({ body: await listAudit(sql, query) }),
    }),
  ];
}
