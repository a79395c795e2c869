import { Scope } from '../../access/scope.js';
import type { Sql } from '../../database/sql.js';
import type { MaintenanceView } from '../../maintenance/index.js';
import type { PolicySettingsCache } from '../../policies/cached-settings.js';

export interface WindowWatchDeps {
  readonly sql: Sql;
  readonly cache: Pick<PolicySettingsCache, 'generation' | 'pinned'>;
  readonly maintenance: MaintenanceView;
}

/** Notices that maintenance windows were edited, by whichever process. */
export interface WindowWatch {
  /** Calls `onChange` until it answers true: at first, and whenever windows of policies or one-off ones differ. */
  follow(onChange: () => Promise<boolean>): Promise<void>;
}

export function createWindowWatch({ sql, cache, maintenance }: WindowWatchDeps): WindowWatch {
  let followed: string | undefined;
  let settings = { generation: '', windows: '' };
  const windowsOfPolicies = (): string => {
    const { epoch, counter } = cache.generation();
    const generation = `${epoch} ${counter}`;
    if (settings.generation !== generation) settings = { generation, windows: resolvedWindows(cache) };
    return settings.windows;
  };
  return {
    async follow(onChange) {
      const present = `${windowsOfPolicies()} ${(await maintenance.at(sql, Scope.all)).windows}`;
      if (present === followed) return;
      if (await onChange()) followed = present;
    },
  };
}

/** What policies say; an edit of a computer's own windows is found when an alert of it is looked at. */
function resolvedWindows(cache: WindowWatchDeps['cache']): string {
  const { policies, resolvedOf } = cache.pinned();
  return [...policies.keys()]
    .map((id) => [id, resolvedOf(id)?.settings.maintenanceWindows.value ?? []] as const)
    .filter(([, windows]) => windows.length > 0)
    .map(([id, windows]) => `${id}${JSON.stringify(windows)}`)
    .join();
}
