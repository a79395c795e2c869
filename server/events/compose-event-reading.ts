import type { RouteDefinition } from '../admin-api/route.js';
import type { Sql } from '../database/sql.js';
import type { FleetClock } from '../fleet-clock/fleet-clock.js';
import { createEventList } from './event-list-query.js';
import { eventRoutes, type EventRoutesDeps } from './event-routes.js';

export interface EventReadingDeps extends Pick<EventRoutesDeps, 'assertVisible'> {
  readonly sql: Sql;
  readonly clock: FleetClock;
}

/** The reading side of events: `GET /events` and `GET /computers/:id/events`. */
export function composeEventReading(deps: EventReadingDeps): { readonly routes: readonly RouteDefinition[] } {
  return { routes: eventRoutes({ events: createEventList(deps), assertVisible: deps.assertVisible }) };
}
