import { losesOnlyWay, type WayFacts } from '../../policies/contact-ways.js';
import { assertOverridesCount } from '../../policies/override-rules.js';
import { computerValue, type ResolvedSettings } from '../../policies/resolve-settings.js';
import { applySettingsPatch, parseSettingsPatch } from '../../policies/settings-patch.js';
import type { SettingOverrides } from '../../policies/setting-values.js';
import { Problem } from '../../lib/problem.js';
import type { Scope } from '../access/scope.js';
import type { Sql } from '../database/sql.js';
import { changedOverrides, isPolicyVisible, settingsSeenBy } from '../policies/index.js';
import { effectOf, OUTCOME, outcomeOf, type Present, type SettingsEffect, type StoredFacts } from './preview-rules.js';
import type { Preview } from './preview.js';
import type { ForestView } from './proposed-edit.js';
import { findPreviewedRow, type PreviewedRow } from './way-query.js';
import { verdictFactsOf } from '../statuses/liveness-row.js';

/** Absent leaves; `settings` is a JSON Merge Patch as it came. */
export interface ComputerProposal {
  readonly settings?: unknown;
  readonly policyId?: string | undefined;
}

export interface ComputerPreviewContext extends ForestView {
  readonly sql: Sql;
  readonly scope: Scope;
  readonly present: () => Present;
}

/**
 * What an edit of a computer's overrides, a move of it, or both would do. Undefined when its policy is younger than the
 * forest.
 */
export async function previewOfComputer(
  context: ComputerPreviewContext,
  computerId: string,
  proposal: ComputerProposal,
): Promise<Preview | undefined> {
  const { sql, scope, resolvedOf } = context;
  const row = await findPreviewedRow(sql, scope, computerId);
  if (!row) throw new Problem('computer-not-found');
  const { policyId = row.policy_id } = proposal;
  if (policyId !== row.policy_id && !(await isPolicyVisible(sql, scope, policyId))) throw policyMissing();
  const [from, to] = [resolvedOf(row.policy_id), resolvedOf(policyId)];
  if (!from) return undefined;
  if (!to) throw policyMissing();
  const overrides = row.overrides === null ? {} : (JSON.parse(row.overrides) as SettingOverrides);
  const above = settingsSeenBy(scope, context.policies, to);
  const wanted = wantedOverrides({ row, overrides, above }, proposal.settings);
  const effect = effectOf(
    (key) => computerValue(from, { kind: row.kind, overrides }, key),
    (key) => computerValue(to, { kind: row.kind, overrides: wanted }, key),
  );
  return toPreview(row, effect, effect ? outcomeOfRow(row, effect, context.present()) : 0);
}

function policyMissing(): Problem {
  return new Problem('policy-not-found', { detail: 'The policy named in policyId does not exist.' });
}

interface Stored {
  readonly row: PreviewedRow;
  readonly overrides: SettingOverrides;
  readonly above: ResolvedSettings;
}

/** The overrides as they would be stored; throws what saving them would throw. */
function wantedOverrides({ row, overrides, above }: Stored, body: unknown = {}): SettingOverrides {
  const patch = parseSettingsPatch(body, '#/settings');
  assertOverridesCount({ above, set: changedOverrides(overrides, patch.set), kind: row.kind });
  return applySettingsPatch(overrides, patch);
}

function outcomeOfRow(row: PreviewedRow, { rules }: SettingsEffect, present: Present): number {
  const { rulesSince: _now, ...facts } = verdictFactsOf(row, { intervalMs: 0, rulesSince: 0 });
  const stored: StoredFacts = {
    ...facts,
    intervalInForceMs: facts.intervalMs,
    contactDueAt: row.contact_due_fleet_ms,
  };
  return outcomeOf(stored, rules, present);
}

function waysOf(row: PreviewedRow): WayFacts {
  return {
    lastSeenAt: row.last_seen_fleet_ms,
    seenByAgentAt: row.seen_by_agent_fleet_ms,
    seenByDialAt: row.seen_by_dial_fleet_ms,
    listenerState: row.listener_state,
    failedDialAt: row.failed_dial_fleet_ms,
    probedAt: row.probed_fleet_ms,
  };
}

function toPreview(row: PreviewedRow, effect: SettingsEffect | undefined, outcome: number): Preview {
  const { changed, closedWay } = effect ?? { changed: [], closedWay: null };
  const losesWay = closedWay !== null && row.status !== 'revoked' && losesOnlyWay(closedWay, waysOf(row));
  const has = (bit: number): boolean => (outcome & bit) !== 0;
  const count = (holds: boolean): number => (holds ? 1 : 0);
  const sample = (holds: boolean) => (holds ? [{ id: row.computer_id, name: row.name }] : []);
  const isChanged = changed.length > 0;
  return {
    computersChanged: count(isChanged),
    bySetting: Object.fromEntries(changed.map((key) => [key, 1])),
    present: { late: count(has(OUTCOME.presentLate)), offline: count(has(OUTCOME.presentOffline)) },
    wouldBeLate: count(has(OUTCOME.late)),
    wouldBeOffline: count(has(OUTCOME.offline)),
    steadyState: { wouldBeLate: count(has(OUTCOME.steadyLate)), wouldBeOffline: count(has(OUTCOME.steadyOffline)) },
    wouldLoseDirection: count(losesWay),
    sample: {
      computersChanged: sample(isChanged),
      wouldBeLate: sample(has(OUTCOME.late)),
      wouldBeOffline: sample(has(OUTCOME.offline)),
      wouldLoseDirection: sample(losesWay),
      steadyState: {
        wouldBeLate: sample(has(OUTCOME.steadyLate)),
        wouldBeOffline: sample(has(OUTCOME.steadyOffline)),
      },
    },
  };
}
