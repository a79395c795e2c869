import { toRfc3339 } from '../../lib/clock.js';
import type { RouteDefinition } from '../admin-api/route.js';
import type { Scope } from '../access/scope.js';
import type { MaintenanceView } from '../maintenance/index.js';
import type { PolicySettingsCache } from '../policies/index.js';
import type { DiagnosisRow } from './diagnosis-query.js';
import { diagnosisRoutes } from './diagnosis-routes.js';
import { createDiagnosisService, type DiagnosisDeps } from './diagnosis-service.js';
import type { Maintenance } from './evidence-rules.js';

export interface ComposeDiagnosisDeps extends Omit<DiagnosisDeps, 'maintenanceOf'> {
  readonly cache: Pick<PolicySettingsCache, 'refresh' | 'resolvedOf'>;
  readonly maintenance: Pick<MaintenanceView, 'at'>;
}

export function composeDiagnosis(deps: ComposeDiagnosisDeps): { readonly routes: readonly RouteDefinition[] } {
  const { cache, maintenance, sql } = deps;
  const maintenanceOf = async (row: DiagnosisRow, scope: Scope): Promise<Maintenance | null> => {
    await cache.refresh();
    // Deleted since the row was read: the next look finds the computer elsewhere.
    if (!cache.resolvedOf(row.policy_id)) return null;
    const present = (await maintenance.at(sql, scope)).presentOf(row);
    const until = present?.isEndless ? null : toRfc3339(present?.until ?? 0);
    return present && { until, name: saidOf(present.source) };
  };
  return { routes: diagnosisRoutes(createDiagnosisService({ ...deps, maintenanceOf })) };
}

function saidOf({ kind, name }: { readonly kind: string; readonly name: string }): string {
  return kind === 'above' ? 'a policy above those that you may see' : `${kind} ${name}`;
}
