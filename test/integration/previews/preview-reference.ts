/** A preview by asking the resolver and the verdict rule about every computer, one after the other. */
import { createLedger, type Ledger } from '../../../policies/listening-ledger.js';
import {
  lineageOf,
  resolveSettings,
  type PolicyNode,
  type ResolvedSettings,
} from '../../../policies/resolve-settings.js';
import { SETTING_KEYS } from '../../../policies/settings-catalogue.js';
import { judge } from '../../../policies/verdict-rules.js';
import { verdictRulesOf } from '../../../server/policies/index.js';
import type { Preview } from '../../../server/previews/preview.js';
import type { Fleet, Row } from './preview-fleet.js';

interface Moment {
  readonly ledger: Ledger;
  readonly at: number;
}

/** One computer as it is and as it would be. */
export interface Comparison {
  readonly row: Row;
  readonly before: ResolvedSettings;
  readonly after: ResolvedSettings;
}

/** `after` is the forest as the edit leaves it. */
export function referencePreview(fleet: Fleet, after: readonly PolicyNode[], at: number): Preview {
  const comparisons = fleet.rows.map((row): Comparison => {
    const policyId = fleet.nodes[row.given.policy % fleet.nodes.length]!.id;
    return { row, before: resolveIn(fleet.nodes, policyId, row), after: resolveIn(after, policyId, row) };
  });
  return compareAll(comparisons, { ledger: createLedger(fleet.spans), at });
}

/** For the first computer alone, with other overrides and below another policy. */
export function referenceOfFirst(fleet: Fleet, wanted: { overrides: object; policyId: string }, at: number): Preview {
  const { nodes, spans, rows } = fleet;
  const row = rows[0]!;
  const before = resolveIn(nodes, nodes[row.given.policy % nodes.length]!.id, row);
  const given = { ...row.given, overrides: wanted.overrides };
  const after = resolveIn(nodes, wanted.policyId, { ...row, given });
  return compareAll([{ row, before, after }], { ledger: createLedger(spans), at });
}

function compareAll(comparisons: readonly Comparison[], moment: Moment): Preview {
  const found = new Map<string, string[]>();
  const bySetting: Record<string, number> = {};
  for (const { row, before, after } of comparisons) {
    const changed = SETTING_KEYS.filter((key) => textOf(before, key) !== textOf(after, key));
    if (changed.length === 0) continue;
    for (const key of changed) bySetting[key] = (bySetting[key] ?? 0) + 1;
    const names = [
      'changed',
      ...(losesWay(row, before, after) ? ['direction'] : []),
      `present ${statusBy(row, { resolved: before, rulesSince: 0, isSteady: false }, moment)}`,
      // An edit that is saved now counts from now on.
      `next ${statusBy(row, { resolved: after, rulesSince: moment.at, isSteady: false }, moment)}`,
      `steady ${statusBy(row, { resolved: after, rulesSince: moment.at, isSteady: true }, moment)}`,
    ];
    for (const name of names) found.set(name, [...(found.get(name) ?? []), row.id]);
  }
  return toPreview(found, bySetting);
}

function resolveIn(nodes: readonly PolicyNode[], policyId: string, { id, given }: Row): ResolvedSettings {
  const lineage = lineageOf(new Map(nodes.map((node) => [node.id, node])), policyId);
  return resolveSettings({ lineage, computer: { id, name: '', kind: given.kind, overrides: given.overrides } });
}

function textOf({ settings }: ResolvedSettings, key: (typeof SETTING_KEYS)[number]): string {
  return JSON.stringify(settings[key].value);
}

function losesWay({ given }: Row, old: ResolvedSettings, next: ResolvedSettings): boolean {
  if (given.status !== 'online') return false;
  const directionOf = ({ settings }: ResolvedSettings) => settings.communicationDirection.value;
  const [from, to] = [directionOf(old), directionOf(next)];
  if (from === to) return false;
  if (to === 'managerInitiated') return !isReachable(given);
  return to === 'agentInitiated' && given.ways.byAgent === null && given.ways.byDial !== null;
}

function isReachable({ ways: { byDial, probe, listener, isAnswered }, dials }: Row['given']): boolean {
  const probed = probe?.result === 'answered' ? probe.after : null;
  const reached = [byDial, probed].filter((at) => at !== null);
  if (reached.length === 0 || ['failed', 'closed'].includes(listener ?? '')) return false;
  const lastBegun = dials?.failed.at(-1)?.[0];
  return lastBegun === undefined || isAnswered || lastBegun <= Math.max(...reached);
}

interface Asked {
  readonly resolved: ResolvedSettings;
  readonly rulesSince: number;
  readonly isSteady: boolean;
}

function statusBy(row: Row, { resolved, rulesSince, isSteady }: Asked, { ledger, at }: Moment): string {
  const { given, lastSeenAt } = row;
  const own = resolved.settings.heartbeatIntervalSeconds.value * 1000;
  const inForce = Math.max(given.confirmed ?? 0, given.delivered ?? 0) || own;
  const facts = {
    ...absenceOf(row),
    everSeen: given.status !== 'pending',
    lastSeenAt,
    intervalMs: isSteady ? own : inForce,
    contactDueAt: isSteady ? lastSeenAt + own : (row.contactDueAt ?? lastSeenAt + inForce),
    revokedAt: given.status === 'revoked' ? 0 : null,
    rulesSince,
  };
  return judge({ facts, rules: verdictRulesOf(resolved), ledger }, at).status;
}

function absenceOf({ given: { goodbye, power, dials }, lastSeenAt }: Row) {
  const since = power ? lastSeenAt + power.after : Number.NEGATIVE_INFINITY;
  const expiresAt = power && power.expires !== null ? since + power.expires : null;
  return {
    dials: dials?.isDialled ? { failed: failedSince(lastSeenAt, dials.failed), reason: null } : null,
    goodbye: goodbye && {
      reason: goodbye.reason,
      receivedAt: lastSeenAt + goodbye.after,
      expectedBackMs: goodbye.expected,
    },
    power: { state: power?.state ?? ('unknown' as const), since, expiresAt },
  };
}

function failedSince(at: number, failed: NonNullable<Row['given']['dials']>['failed']) {
  return failed.map(([after, took]) => ({ begunAt: at + after, endedAt: at + after + took }));
}

function toPreview(found: ReadonlyMap<string, readonly string[]>, bySetting: Record<string, number>): Preview {
  const count = (name: string) => found.get(name)?.length ?? 0;
  const sample = (name: string) => (found.get(name) ?? []).slice(0, 10).map((id) => ({ id, name: `computer ${id}` }));
  return {
    computersChanged: count('changed'),
    bySetting,
    present: { late: count('present late'), offline: count('present offline') },
    wouldBeLate: count('next late'),
    wouldBeOffline: count('next offline'),
    steadyState: { wouldBeLate: count('steady late'), wouldBeOffline: count('steady offline') },
    wouldLoseDirection: count('direction'),
    sample: {
      computersChanged: sample('changed'),
      wouldBeLate: sample('next late'),
      wouldBeOffline: sample('next offline'),
      wouldLoseDirection: sample('direction'),
      steadyState: { wouldBeLate: sample('steady late'), wouldBeOffline: sample('steady offline') },
    },
  };
}
