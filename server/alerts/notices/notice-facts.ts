import type { Ledger } from '../../../policies/listening-ledger.js';
import { flapSlotMs, isFlapping, NO_FLAPS, withChanges, type FlapHistory } from '../../../policies/flapping-rules.js';
import { settledFrom, type NoticeFacts } from '../../../policies/notice-rules.js';
import { judge } from '../../../policies/verdict-rules.js';
import type { FleetInstant } from '../../fleet-clock/fleet-clock.js';
import type { MaintenanceSnapshot } from '../../maintenance/index.js';
import type { SettingsCache } from '../../policies/settings-cache.js';
import { countedIntervalMs, settingsSubjectOf, verdictFactsOf } from '../../statuses/liveness-row.js';
import type { AlertChange } from '../alert-outbox.js';
import type { NoticeComputer, NoticeRow, StoredFlaps } from './notice-repository.js';

const COMPUTER_OFFLINE = 'computer-offline';

/** What a batch of decisions has in common. */
export interface Circumstances {
  readonly at: FleetInstant;
  /** Wall less fleet time. */
  readonly wallMs: number;
  readonly ledger: Ledger;
  readonly settings: Pick<SettingsCache, 'settingsOf'>;
  readonly maintenance: MaintenanceSnapshot;
  readonly computers: ReadonlyMap<string, NoticeComputer>;
}

export interface Standing {
  readonly flaps: StoredFlaps | undefined;
  readonly isJustAcknowledged: boolean;
}

/** What an alert's notice is decided by. */
export function factsOf(
  row: NoticeRow,
  { flaps, isJustAcknowledged }: Standing,
  circumstances: Circumstances,
): NoticeFacts {
  const { told, held_by: heldBy, look_fleet_ms: lookAt } = row;
  const computer = row.computer_id === null ? undefined : circumstances.computers.get(row.computer_id);
  return {
    state: row.state,
    raisedAt: row.raised_fleet_ms,
    incidentId: row.incident_id,
    snoozedUntil: row.snoozed_until_fleet_ms,
    maintenance: computer ? maintenanceOf(computer, circumstances) : { until: null, nextAt: null },
    isJustAcknowledged,
    last: told === null ? null : { told, heldBy, lookAt },
    ...(computer && row.type === COMPUTER_OFFLINE
      ? silenceOf(computer, flaps, circumstances)
      : { gatheredWithinMs: null, flapping: null, settledAt: circumstances.at }),
  };
}

/** What only counts for an alert that a heartbeat ends. */
function silenceOf(
  computer: NoticeComputer,
  flaps: StoredFlaps | undefined,
  circumstances: Circumstances,
): Pick<NoticeFacts, 'gatheredWithinMs' | 'flapping' | 'settledAt'> {
  const { at, settings } = circumstances;
  return {
    gatheredWithinMs: countedIntervalMs(computer, settings.settingsOf(settingsSubjectOf(computer))),
    flapping: flaps && isFlapping(flaps, at) ? { until: flaps.calmAt ?? at, isTold: flaps.isTold } : null,
    settledAt: settledAt(computer, circumstances),
  };
}

function maintenanceOf(computer: NoticeComputer, { maintenance, wallMs }: Circumstances): NoticeFacts['maintenance'] {
  const present = maintenance.presentOf(computer);
  if (present) return { until: present.until - wallMs, nextAt: null };
  const nextAt = maintenance.nextOf(computer);
  return { until: null, nextAt: nextAt === null ? null : nextAt - wallMs };
}

function settledAt(computer: NoticeComputer, { at, ledger, settings }: Circumstances): number {
  const effective = settings.settingsOf(settingsSubjectOf(computer));
  const facts = verdictFactsOf(computer, effective);
  const verdict = judge({ facts, rules: effective.verdictRules, ledger }, at);
  // Where a dial of the manager is all that is missing, it may be under way.
  const mayDial = verdict.dialNeededFrom !== Number.POSITIVE_INFINITY;
  const nextAt = mayDial ? Math.min(verdict.nextChangeAt, Math.max(at, verdict.dialNeededFrom)) : verdict.nextChangeAt;
  const { graceMs } = effective.verdictRules;
  return settledFrom({ ...facts, graceMs, lateUntil: verdict.status === 'late' ? nextAt : null }, ledger, at);
}

/**
 * The flaps of the computers whose alerts began or ended, by computer. What happens in maintenance is meant to: it is not
 * counted.
 */
export function flapsOf(
  changes: readonly AlertChange[],
  rows: readonly NoticeRow[],
  circumstances: Circumstances,
): { readonly changed: ReadonlySet<string>; readonly flaps: Map<string, StoredFlaps> } {
  const { computers } = circumstances;
  const flaps = new Map<string, StoredFlaps>();
  for (const computer of computers.values())
    if (computer.changed_fleet_ms) flaps.set(computer.computer_id, storedFlaps(computer));
  const changedAt = changesByComputer(changes, rows);
  const changed = new Set<string>();
  for (const [computerId, instants] of changedAt) {
    const computer = computers.get(computerId);
    if (!computer || circumstances.maintenance.presentOf(computer)) continue;
    const known = flaps.get(computerId) ?? { ...NO_FLAPS, isTold: false };
    const history = withChanges(known, instants, { slotMs: slotOf(computer, circumstances), at: circumstances.at });
    const isSameEpisode = isFlapping(known, circumstances.at) && isFlapping(history, circumstances.at);
    flaps.set(computerId, { ...history, computerId, isTold: isSameEpisode && known.isTold });
    changed.add(computerId);
  }
  return { changed, flaps };
}

function storedFlaps(computer: NoticeComputer): StoredFlaps {
  const history: FlapHistory = { changes: computer.changed_fleet_ms ?? [], calmAt: computer.calm_fleet_ms };
  return { ...history, computerId: computer.computer_id, isTold: computer.is_told ?? false };
}

function changesByComputer(changes: readonly AlertChange[], rows: readonly NoticeRow[]): Map<string, number[]> {
  const computerOf = new Map(
    rows.flatMap(({ id, type, computer_id: computerId }) =>
      type === COMPUTER_OFFLINE && computerId !== null ? [[id, computerId] as const] : [],
    ),
  );
  const found = new Map<string, number[]>();
  for (const { alertId, change, at } of changes) {
    const computerId = computerOf.get(alertId);
    if (computerId === undefined || (change !== 'raised' && change !== 'resolved')) continue;
    const known = found.get(computerId);
    if (known) known.push(at);
    else found.set(computerId, [at]);
  }
  return found;
}

/** How long a silence makes the computer offline; Infinity where any is allowed. */
function slotOf(computer: NoticeComputer, { settings }: Circumstances): number {
  const effective = settings.settingsOf(settingsSubjectOf(computer));
  const { missedAllowed, graceMs } = effective.verdictRules;
  const misses = missedAllowed === 'unlimited' ? Number.POSITIVE_INFINITY : missedAllowed + 1;
  return flapSlotMs(misses * countedIntervalMs(computer, effective) + graceMs);
}
