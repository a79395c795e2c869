import { Scope } from '../access/scope.js';
import type { Sql } from '../database/sql.js';
import { readForestGeneration } from '../policies/forest-repository.js';
import type { SettingsCache } from '../policies/settings-cache.js';
import { readSubjects } from './maintenance-repository.js';
import type { MaintenanceView } from './maintenance-view.js';

export interface InMaintenanceDeps {
  readonly view: Pick<MaintenanceView, 'at'>;
  readonly cache: Pick<SettingsCache, 'ensure'>;
}

/** Answers those of the computers asked about that are inside a maintenance window now. */
export function createInMaintenance({ view, cache }: InMaintenanceDeps) {
  return async (sql: Sql, computerIds: readonly string[]): Promise<ReadonlySet<string>> => {
    const generation = await readForestGeneration(sql);
    if (generation) await cache.ensure(generation);
    const snapshot = await view.at(sql, Scope.all);
    const subjects = await readSubjects(sql, computerIds);
    return new Set(subjects.filter((subject) => snapshot.presentOf(subject) !== null).map(({ computer_id: id }) => id));
  };
}
