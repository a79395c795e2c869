import { defineRoute, type RouteDefinition } from '../admin-api/route.js';
import { DiagnosisDto, ProbeDto } from './diagnosis-dto.js';
import type { DiagnosisService } from './diagnosis-service.js';

const tag = 'computers';

export function diagnosisRoutes(diagnosis: DiagnosisService): RouteDefinition[] {
  return [
    defineRoute({
      method: 'get',
      path: '/computers/:id/diagnosis',
      permission: 'auditor',
      reach: 'scope',
      tag,
      summary: 'Why it has its status, what tells so, and what to do',
      reply: { status: 200, body: DiagnosisDto },
      handle: async ({ scope, params }) => ({ body: await diagnosis.get(scope, params['id'] ?? '') }),
    }),
    defineRoute({
      method: 'post',
      path: '/computers/:id/probe',
      permission: 'operator',
      reach: 'scope',
      tag,
      summary: 'Connect to its listener now: is the agent down, or the host?',
      reply: { status: 200, body: ProbeDto },
      handle: async ({ actor, scope, params }) => ({
        body: await diagnosis.probe({ actor, scope }, params['id'] ?? ''),
      }),
    }),
  ];
}
