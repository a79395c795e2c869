import { pageSchemaOf } from '../admin-api/dto-schemas.js';
import { defineRoute, type RouteDefinition } from '../admin-api/route.js';
import { JobReply, SystemReply } from './system-dto.js';
import type { SystemView } from './system-view.js';

export type { SystemView } from './system-view.js';

const tag = 'system';

export function systemRoutes(view: SystemView): RouteDefinition[] {
  return [
    defineRoute({
      method: 'get',
      path: '/system',
      permission: 'auditor',
      tag,
      summary: 'Addresses, versions, and whether verdicts are active, held or warming',
      reply: { status: 200, body: SystemReply },
      handle: async () => ({ body: view.system() }),
    }),
    defineRoute({
      method: 'get',
      path: '/system/jobs',
      permission: 'auditor',
      tag,
      summary: 'The periodic jobs and how they ran',
      reply: {
        status: 200,
        body: pageSchemaOf(JobReply),
      },
      handle: async () => ({ body: { items: view.jobs(), next: null } }),
    }),
  ];
}
