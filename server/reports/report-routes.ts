import { defineRoute, type RouteDefinition } from '../admin-api/route.js';
import type { FleetClock } from '../fleet-clock/fleet-clock.js';
import { AvailabilityQuery, AvailabilityReply } from './availability-dto.js';
import type { AvailabilityService } from './availability-service.js';
import { RehearsalReply, RehearsePolicyBody } from './rehearsal-dto.js';
import type { RehearsalService } from './rehearsal-service.js';
import { formatOf, queryRangeFaults } from './report-rules.js';
import { BY_NAME } from './availability-query.js';

const CSV_TYPE = 'text/csv';
const CSV_HEADERS = {
  'Content-Type': `${CSV_TYPE}; charset=utf-8; header=present`,
  'Content-Disposition': 'attachment; filename="availability.csv"',
};

export interface ReportRoutesDeps {
  readonly clock: Pick<FleetClock, 'fleet' | 'toWall'>;
  readonly availability: AvailabilityService;
  readonly rehearsals: RehearsalService;
}

export function reportRoutes({ availability, rehearsals, clock }: ReportRoutesDeps): RouteDefinition[] {
  return [
    defineRoute({
      method: 'get',
      path: '/reports/availability',
      permission: 'auditor',
      reach: 'scope',
      tag: 'reports',
      summary: 'Availability of computers, of subtrees or by label, over a range',
      query: AvailabilityQuery,
      list: BY_NAME,
      reply: { status: 200, body: AvailabilityReply, alsoAs: [CSV_TYPE] },
      check: ({ query, isSound }) => queryRangeFaults(query, { now: clock.toWall(clock.fleet()), isSound }),
      async handle({ scope, query, headers: { accept } }) {
        const format = formatOf(query.format, Array.isArray(accept) ? accept.join() : accept);
        if (format === 'csv') return { stream: availability.csv(scope, query), headers: CSV_HEADERS };
        return { body: await availability.report(scope, query) };
      },
    }),
    defineRoute({
      method: 'post',
      path: '/policies/:id/rehearse',
      permission: 'operator',
      reach: 'scope',
      tag: 'policies',
      summary: 'How many offline alerts these thresholds would have raised, from recorded gaps; stores nothing',
      body: RehearsePolicyBody,
      reply: { status: 200, body: RehearsalReply },
      handle: async ({ scope, params, body }) => ({ body: await rehearsals.rehearse(scope, params['id'] ?? '', body) }),
    }),
  ];
}
