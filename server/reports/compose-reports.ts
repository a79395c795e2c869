import type { Scope } from '../access/scope.js';
import type { RouteDefinition } from '../admin-api/route.js';
import type { UnitOfWork } from '../database/in-transaction.js';
import type { FleetClock } from '../fleet-clock/fleet-clock.js';
import type { DeafSpan } from '../listening/listening.js';
import type { PolicySettingsCache } from '../policies/index.js';
import { createAvailabilityService } from './availability-service.js';
import { boundedReads } from './bounded-reads.js';
import { createRehearsalService } from './rehearsal-service.js';
import { createTurnstile } from './report-budget.js';
import { reportRoutes } from './report-routes.js';

export interface ReportsDeps {
  readonly inTransaction: UnitOfWork;
  readonly cache: PolicySettingsCache;
  readonly clock: FleetClock;
  /** The deaf spans that are known now, of the listening ledger. */
  readonly spans: () => readonly DeafSpan[];
  /** Throw `policy-not-found` and `computer-not-found` for what is outside the scope. */
  readonly assertPolicyVisible: (scope: Scope, policyId: string) => Promise<unknown>;
  readonly assertComputerVisible: (scope: Scope, computerId: string) => Promise<unknown>;
}

export function composeReports(deps: ReportsDeps): { readonly routes: readonly RouteDefinition[] } {
  const shared = { ...deps, sql: boundedReads(deps.inTransaction), turnstile: createTurnstile() };
  const availability = createAvailabilityService(shared);
  const rehearsals = createRehearsalService(shared);
  return { routes: reportRoutes({ clock: deps.clock, availability, rehearsals }) };
}
