import type { Breather } from '../../lib/breather.js';
import { createAccounting, type Accounting } from '../../policies/availability-rules.js';
import type { Span } from '../../policies/listening-ledger.js';
import { createMaintenanceCalendar, isAimedAt } from '../../policies/maintenance-rules.js';
import { computerValue, lineageOf } from '../../policies/resolve-settings.js';
import type { MaintenanceWindow, SettingOverrides } from '../../policies/setting-values.js';
import type { MaintenanceOrder } from '../maintenance/index.js';
import type { PinnedForest } from '../policies/index.js';
import type { Budget } from './report-budget.js';
import type { ReportedComputer } from './availability-query.js';

export interface AccountingDeps {
  readonly forest: Pick<PinnedForest, 'policies' | 'resolvedOf'>;
  /** Windows that somebody asked for once. */
  readonly oneOffs: readonly MaintenanceOrder[];
  readonly deaf: readonly Span[];
  readonly range: Span;
  /** The same in wall time, by which windows open. */
  readonly walls: Span;
  readonly toFleet: (wallMs: number) => number;
  readonly isMaintenanceExcluded: boolean;
  readonly breather: Breather;
  /** For the windows of one setting. */
  readonly newBudget: () => Budget;
}

/** How the times of each computer are told apart; computers with the same windows share it. */
export function createAccountings(deps: AccountingDeps): (computer: ReportedComputer) => Promise<Accounting> {
  const known = new Map<string, Promise<Accounting>>();
  const oneOffsOf = createOneOffs(deps);
  return (computer) => {
    const windows = windowsOf(deps.forest, computer);
    const oneOffs = oneOffsOf(computer);
    const key = `${oneOffs.map(({ id }) => id).join()} ${JSON.stringify(windows)}`;
    const accounting = known.get(key) ?? account(deps, windows, oneOffs);
    known.set(key, accounting);
    return accounting;
  };
}

/** The windows of one computer; those of others are not looked at for each. */
function createOneOffs({ forest, oneOffs, walls }: AccountingDeps) {
  const byComputer = new Map<string, MaintenanceOrder[]>();
  const shared: MaintenanceOrder[] = [];
  for (const order of oneOffs.filter(({ startsAt }) => startsAt.getTime() < walls.until)) {
    if (order.computerId === null) shared.push(order);
    else byComputer.set(order.computerId, [...(byComputer.get(order.computerId) ?? []), order]);
  }
  return ({ id, policy_id: policyId, labels }: ReportedComputer): readonly MaintenanceOrder[] => {
    const possible = [...(byComputer.get(id) ?? []), ...shared];
    if (possible.length === 0) return possible;
    const lineage = lineageOf(forest.policies, policyId).map((policy) => policy.id);
    return possible.filter((order) => isAimedAt(order, { id, labels, lineage }));
  };
}

function windowsOf(forest: Pick<PinnedForest, 'resolvedOf'>, computer: ReportedComputer): readonly MaintenanceWindow[] {
  const policy = forest.resolvedOf(computer.policy_id);
  if (!policy) return [];
  const { kind } = computer;
  const overrides = computer.overrides === null ? {} : (JSON.parse(computer.overrides) as SettingOverrides);
  return computerValue(policy, { kind, overrides }, 'maintenanceWindows');
}

async function account(
  deps: AccountingDeps,
  windows: readonly MaintenanceWindow[],
  oneOffs: readonly MaintenanceOrder[],
): Promise<Accounting> {
  const { deaf, range, walls, toFleet, isMaintenanceExcluded, breather } = deps;
  const budget = deps.newBudget();
  const maintenance: Span[] = [];
  const add = ({ from, until }: Span): void => {
    maintenance.push({ from: Math.max(range.from, toFleet(from)), until: Math.min(range.until, toFleet(until)) });
  };
  for (const { startsAt, endsAt } of oneOffs) add({ from: startsAt.getTime(), until: endsAt.getTime() });
  for (const span of createMaintenanceCalendar(windows).spans(walls)) {
    if (breather.isDue()) await breather.turn();
    budget.check();
    add(span);
  }
  return createAccounting({ deaf, maintenance, isMaintenanceExcluded });
}
