import type { RouteDefinition } from '../admin-api/route.js';
import { clockRoutes } from './clock-routes.js';
import { createClockService, type ClockServiceDeps } from './clock-service.js';

export { readClockRow } from './clock-query.js';
export { readClock, type ClockReaderDeps, type ReadClock } from './clock-reader.js';

export function composeClocks(deps: ClockServiceDeps): { readonly routes: readonly RouteDefinition[] } {
  return { routes: clockRoutes(createClockService(deps)) };
}
