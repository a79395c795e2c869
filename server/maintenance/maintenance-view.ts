import {
  createMaintenanceCalendar,
  isAimedAt,
  maintenanceAt,
  nextMaintenanceAt,
  type AllWindows,
  type MaintenanceCalendar,
  type TargetedComputer,
} from '../../policies/maintenance-rules.js';
import type { Span } from '../../policies/listening-ledger.js';
import type { MaintenanceWindow } from '../../policies/setting-values.js';
import type { Scope } from '../access/scope.js';
import type { Sql } from '../database/sql.js';
import type { FleetClock } from '../fleet-clock/fleet-clock.js';
import type { PolicySettingsCache } from '../policies/cached-settings.js';
import { readWindowsFrom } from './maintenance-repository.js';
import type { MaintenanceOrder, MaintenanceSubject } from './maintenance-window.js';

/**
 * Where a window comes from: the setting's origin, or the one-off window with its comment as name; `above` for one of a
 * policy that the reader may not see.
 */
export interface MaintenanceSource {
  readonly kind: 'default' | 'policy' | 'computer' | 'window' | 'above';
  readonly id: string | null;
  readonly name: string;
}

/** Wall milliseconds. */
export interface ShownMaintenance {
  /** Sure until then. */
  readonly until: number;
  /** No end is in sight. */
  readonly isEndless: boolean;
  readonly source: MaintenanceSource;
}

/** Wall milliseconds. */
export interface SettingMaintenance {
  readonly source: MaintenanceSource;
  /** Whether a window runs. */
  readonly running: boolean;
  /** When it ends; null while none runs, and where no end is in sight. */
  readonly until: number | null;
  /** The next ones. */
  readonly next: readonly Span[];
}

/** Maintenance of any computer at one instant, by the settings that the cache holds and the windows that were read. */
export interface MaintenanceSnapshot {
  presentOf(subject: MaintenanceSubject): ShownMaintenance | null;
  /** When the next window begins, of either sort; wall milliseconds, null for never. */
  nextOf(subject: MaintenanceSubject): number | null;
  /** What comes of the setting alone. */
  ofSetting(subject: MaintenanceSubject, count: number): SettingMaintenance;
  /** Says the same for as long as no window that is not over was made, ended or removed. */
  readonly windows: string;
}

export interface MaintenanceView {
  /** As the scope's reader may know it. The cache must know the policies of whatever is asked for afterwards. */
  at(sql: Sql, scope: Scope): Promise<MaintenanceSnapshot>;
  targetOf(subject: MaintenanceSubject): TargetedComputer;
}

export interface MaintenanceViewDeps {
  readonly cache: Pick<PolicySettingsCache, 'policies' | 'resolvedOfSubject'>;
  readonly clock: Pick<FleetClock, 'fleet' | 'toWall'>;
}

const ABOVE: MaintenanceSource = { kind: 'above', id: null, name: '' };

/** Distinct settings whose calendars are kept. */
const CALENDARS_MAX = 1000;

export function createMaintenanceView({ cache, clock }: MaintenanceViewDeps): MaintenanceView {
  const calendars = createCalendars();
  const targetOf = ({ computer_id: id, policy_id: policyId, labels }: MaintenanceSubject): TargetedComputer => ({
    id,
    labels,
    lineage: lineageIds(cache.policies(), policyId),
  });
  const settingOf = (subject: MaintenanceSubject) => {
    const { kind, policy_id: policyId, overrides } = subject;
    return cache.resolvedOfSubject({ kind, policyId, overrides }).settings.maintenanceWindows;
  };
  return {
    targetOf,
    async at(sql, scope) {
      const isShown = (policyId: string): boolean => scope.isAll || scope.holds(cache.policies(), policyId);
      const now = clock.toWall(clock.fleet());
      const orders = await readWindowsFrom(sql, now);
      const windowsOf = (subject: MaintenanceSubject): AllWindows => {
        const target = orders.length === 0 ? undefined : targetOf(subject);
        const oneOffs = target ? orders.filter((order) => isAimedAt(order, target)).map(toOneOff) : [];
        return { calendar: calendars(settingOf(subject).value), oneOffs };
      };
      const settingSource = (subject: MaintenanceSubject): MaintenanceSource => {
        const { source } = settingOf(subject);
        if (source.kind === 'computer') return { kind: 'computer', id: subject.computer_id, name: subject.name };
        if (source.kind !== 'policy') return { kind: 'default', id: null, name: 'default' };
        return isShown(source.id) ? { kind: 'policy', id: source.id, name: source.name } : ABOVE;
      };
      const orderSource = ({ id, policyId, comment }: MaintenanceOrder): MaintenanceSource =>
        policyId === null || isShown(policyId) ? { kind: 'window', id, name: comment } : ABOVE;
      return {
        windows: orders.map(({ id, endsAt }) => `${id} ${endsAt.getTime()}`).join(),
        presentOf(subject) {
          const present = maintenanceAt(windowsOf(subject), now);
          if (!present) return null;
          const order = orders.find(({ id }) => id === present.windowId);
          const source = order ? orderSource(order) : settingSource(subject);
          return { until: present.until, isEndless: present.isEndless, source };
        },
        nextOf: (subject) => nextMaintenanceAt(windowsOf(subject), now),
        ofSetting(subject, count) {
          const calendar = calendars(settingOf(subject).value);
          const until = calendar.endAt(now);
          const shown = until === null || calendar.isEndlessAt(now) ? null : until;
          const source = settingSource(subject);
          return { source, running: until !== null, until: shown, next: calendar.next(now, count) };
        },
      };
    },
  };
}

function toOneOff({ id, startsAt, endsAt }: MaintenanceOrder) {
  return { id, from: startsAt.getTime(), until: endsAt.getTime() };
}

/** The policy and those above it. */
function lineageIds(policies: ReadonlyMap<string, { readonly parentId: string | null }>, policyId: string): string[] {
  const ids: string[] = [];
  for (let id: string | null = policyId; id !== null; id = policies.get(id)?.parentId ?? null) ids.push(id);
  return ids;
}

/** The calendar of a setting's value; computers of one policy share it. */
function createCalendars(): (windows: readonly MaintenanceWindow[]) => MaintenanceCalendar {
  const known = new Map<string, MaintenanceCalendar>();
  const none = createMaintenanceCalendar([]);
  return (windows) => {
    if (windows.length === 0) return none;
    const key = JSON.stringify(windows);
    const kept = known.get(key);
    if (kept) return kept;
    if (known.size >= CALENDARS_MAX) known.clear();
    const calendar = remembering(createMaintenanceCalendar(windows));
    known.set(key, calendar);
    return calendar;
  };
}

/** Between two changes a calendar says the same: a page of computers, or a storm of alerts, asks it once. */
function remembering(calendar: MaintenanceCalendar): MaintenanceCalendar {
  let ended: { readonly from: number; readonly end: number | null; readonly until: number } | undefined;
  const nextStart = (at: number) => calendar.next(at, 1)[0]?.from ?? Number.POSITIVE_INFINITY;
  return {
    ...calendar,
    endAt(at) {
      if (!ended || at < ended.from || at >= ended.until) {
        const end = calendar.endAt(at);
        ended = { from: at, end, until: end ?? nextStart(at) };
      }
      return ended.end;
    },
  };
}
