import type { Breather } from '../../lib/breather.js';
import { createAccounting, type Accounting } from '../../policies/availability-rules.js';
import type { Span } from '../../policies/listening-ledger.js';
import { createMaintenanceCalendar } from '../../policies/maintenance-rules.js';
import { computerValue } from '../../policies/resolve-settings.js';
import type { MaintenanceWindow, SettingOverrides } from '../../policies/setting-values.js';
import type { PinnedForest } from '../policies/index.js';
import type { Budget } from './report-budget.js';
import type { ReportedComputer } from './availability-query.js';

export interface AccountingDeps {
  readonly forest: Pick<PinnedForest, 'resolvedOf'>;
  readonly deaf: readonly Span[];
  readonly range: Span;
  /** The same in wall time, by which windows open. */
  readonly walls: Span;
  readonly toFleet: (wallMs: number) => number;
  readonly isMaintenanceExcluded: boolean;
  readonly breather: Breather;
  readonly budget: Budget;
}

/** How the times of each computer are told apart; computers with the same windows share it. */
export function createAccountings(deps: AccountingDeps): (computer: ReportedComputer) => Promise<Accounting> {
  const known = new Map<string, Promise<Accounting>>();
  return (computer) => {
    const windows = windowsOf(deps.forest, computer);
    const key = JSON.stringify(windows);
    const accounting = known.get(key) ?? account(deps, windows);
    known.set(key, accounting);
    return accounting;
  };
}

function windowsOf(forest: Pick<PinnedForest, 'resolvedOf'>, computer: ReportedComputer): readonly MaintenanceWindow[] {
  const policy = forest.resolvedOf(computer.policy_id);
  if (!policy) return [];
  const { kind } = computer;
  const overrides = computer.overrides === null ? {} : (JSON.parse(computer.overrides) as SettingOverrides);
  return computerValue(policy, { kind, overrides }, 'maintenanceWindows');
}

async function account(deps: AccountingDeps, windows: readonly MaintenanceWindow[]): Promise<Accounting> {
  const { deaf, range, walls, toFleet, isMaintenanceExcluded, breather, budget } = deps;
  const maintenance: Span[] = [];
  for (const span of createMaintenanceCalendar(windows).spans(walls)) {
    if (breather.isDue()) await breather.turn();
    budget.check();
    const from = Math.max(range.from, toFleet(span.from));
    maintenance.push({ from, until: Math.min(range.until, toFleet(span.until)) });
  }
  return createAccounting({ deaf, maintenance, isMaintenanceExcluded });
}
