import { toRfc3339 } from '../../lib/clock.js';
import { createMaintenanceCalendar } from '../../policies/maintenance-rules.js';
import type { RouteDefinition } from '../admin-api/route.js';
import type { PolicySettingsCache } from '../policies/index.js';
import { settingsSubjectOf } from '../statuses/liveness-row.js';
import type { DiagnosisRow } from './diagnosis-query.js';
import { diagnosisRoutes } from './diagnosis-routes.js';
import { createDiagnosisService, type DiagnosisDeps } from './diagnosis-service.js';
import type { Maintenance } from './evidence-rules.js';

export type ComposeDiagnosisDeps = Omit<DiagnosisDeps, 'maintenanceOf'> & { readonly cache: PolicySettingsCache };

export function composeDiagnosis(deps: ComposeDiagnosisDeps): { readonly routes: readonly RouteDefinition[] } {
  const { cache, clock } = deps;
  const maintenanceOf = async (row: DiagnosisRow): Promise<Maintenance | null> => {
    await cache.refresh();
    // Deleted since the row was read: the next look finds the computer elsewhere.
    if (!cache.resolvedOf(row.policy_id)) return null;
    const { value, source } = cache.resolvedOfSubject(settingsSubjectOf(row)).settings.maintenanceWindows;
    const until = createMaintenanceCalendar(value).endAt(clock.toWall(clock.fleet()));
    if (until === null) return null;
    return { until: toRfc3339(until), name: source.kind === 'policy' ? `policy ${source.name}` : 'its own settings' };
  };
  return { routes: diagnosisRoutes(createDiagnosisService({ ...deps, maintenanceOf })) };
}
