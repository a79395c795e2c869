import { createLedger, type Ledger } from '../../policies/listening-ledger.js';
import { carrierInUse, listenerReachable } from '../../policies/contact-ways.js';
import { settingsState } from '../../policies/settings-state.js';
import { judge } from '../../policies/verdict-rules.js';
import { toRfc3339 } from '../../lib/clock.js';
import { Problem } from '../../lib/problem.js';
import type { Scope } from '../access/scope.js';
import { mapPage, pageOf, parsePage, type Page, type PageQuery } from '../admin-api/page.js';
import type { SpoolReport } from '../../protocol/heartbeat-messages.js';
import type { Sql } from '../database/sql.js';
import type { FleetClock, FleetInstant } from '../fleet-clock/fleet-clock.js';
import type { MaintenanceSnapshot, MaintenanceView } from '../maintenance/index.js';
import type { DeafSpan } from '../listening/listening.js';
import type { PolicySettingsCache } from '../policies/cached-settings.js';
import { settingsSubjectOf, verdictFactsOf } from '../statuses/liveness-row.js';
import { channelOf, contactsOf, lastDialOf, wayFactsOf } from './computer-contacts.js';
import type { ComputerDetailDto, ComputerDto } from './computer-dto.js';
import {
  COMPUTER_ORDER,
  computerRowKey,
  findComputerRow,
  listComputerRows,
  readComputerDetail,
  type ComputerDetailRow,
  type ComputerFilters,
  type OverviewRow,
} from './computer-list-query.js';

export interface ComputerOverviewDeps {
  readonly sql: Sql;
  readonly cache: PolicySettingsCache;
  readonly clock: FleetClock;
  /** The deaf spans that are known now, of the listening ledger. */
  readonly spans: () => readonly DeafSpan[];
  readonly maintenance: MaintenanceView;
}

/** Computers as the API shows them: the stored status, and what follows from rules and settings at this instant. */
export interface ComputerOverview {
  list(scope: Scope, query: PageQuery, filters: ComputerFilters): Promise<Page<ComputerDto>>;
  get(scope: Scope, computerId: string): Promise<ComputerDetailDto>;
}

/** How often a read is repeated when a policy is deleted between the rows and the settings. */
const READ_ATTEMPTS = 3;

export function createComputerOverview(deps: ComputerOverviewDeps): ComputerOverview {
  const readRows = async (read: () => Promise<readonly OverviewRow[]>): Promise<readonly OverviewRow[]> => {
    for (let attempt = 1; attempt <= READ_ATTEMPTS; attempt += 1) {
      const rows = await read();
      await deps.cache.refresh();
      if (rows.every(({ policy_id: policyId }) => deps.cache.resolvedOf(policyId))) return rows;
    }
    throw new Problem('unavailable', { detail: 'Policies are being deleted at this moment.', retryAfterSeconds: 1 });
  };
  return {
    async list(scope, query, filters) {
      const page = parsePage(query, COMPUTER_ORDER);
      const rows = await readRows(() => listComputerRows(deps.sql, scope, { page, filters }));
      return mapPage(
        pageOf(rows, page, computerRowKey(page)),
        viewer(deps, await deps.maintenance.at(deps.sql, scope)),
      );
    },
    async get(scope, computerId) {
      const found = await readRows(async () => {
        const row = await findComputerRow(deps.sql, scope, computerId);
        return row ? [row] : [];
      });
      const detail = await readComputerDetail(deps.sql, computerId);
      const [row] = found;
      if (!row || !detail) throw new Problem('computer-not-found');
      const maintenance = await deps.maintenance.at(deps.sql, scope);
      return { ...viewer(deps, maintenance)(row), ...detailOf(detail, deps.clock) };
    },
  };
}

interface View {
  readonly cache: PolicySettingsCache;
  readonly ledger: Ledger;
  readonly now: FleetInstant;
  /** Trusted time less the fleet clock. */
  readonly trustedMs: number;
  readonly shown: (instant: FleetInstant | null) => string | null;
}

function viewer(
  { cache, clock, spans }: ComputerOverviewDeps,
  maintenance: MaintenanceSnapshot,
): (row: OverviewRow) => ComputerDto {
  const shown = (instant: FleetInstant | null): string | null =>
    instant === null ? null : toRfc3339(clock.toWall(Number(instant)));
  const now = clock.fleet();
  const trustedMs = clock.toTrusted(now) - now;
  const view: View = { cache, ledger: createLedger(spans()), now, trustedMs, shown };
  return (row) => ({
    ...recordOf(row, view),
    ...livenessOf(row, view),
    ...settingsOf(row, view),
    maintenance: shownMaintenance(maintenance.presentOf(row)),
  });
}

function shownMaintenance(present: ReturnType<MaintenanceSnapshot['presentOf']>): ComputerDto['maintenance'] {
  return present && { until: present.isEndless ? null : toRfc3339(present.until), source: present.source };
}

function recordOf(row: OverviewRow, { shown }: View) {
  return {
    id: row.computer_id,
    name: row.name,
    kind: row.kind,
    address: row.address ?? row.observed_address,
    addressSource: row.address ? 'manual' : row.observed_address ? 'observed' : null,
    policy: { id: row.policy_id, name: row.policy_name },
    labels: row.labels,
    revision: row.revision,
    createdAt: shown(asInstant(row.created_fleet_ms)) ?? '',
    enrolledAt: shown(row.enrolled_fleet_ms),
    powerState: {
      state: row.power_state,
      source: row.power_source,
      since: shown(asInstant(row.power_since_fleet_ms)),
      expiresAt: shown(asInstant(row.power_expires_fleet_ms)),
    },
    agentVersion: row.agent_version,
    platform: row.platform,
    collection: row.collection ?? 'running',
    flags: row.flags,
  };
}

function livenessOf(row: OverviewRow, { cache, ledger, now, shown, trustedMs }: View) {
  const settings = cache.settingsOf(settingsSubjectOf(row));
  const facts = verdictFactsOf(row, settings);
  const verdict = judge({ facts, rules: settings.verdictRules, ledger }, now);
  return {
    status: row.status,
    statusReason: row.status_reason,
    statusSince: shown(asInstant(row.since_fleet_ms)) ?? '',
    lastSeenAt: shown(asInstant(row.last_seen_fleet_ms)),
    missedHeartbeats: verdict.missed,
    nextExpectedAt: row.status === 'revoked' ? null : shown(asInstant(row.contact_due_fleet_ms)),
    offlineAt: shown(verdict.offlineAt),
    clockOffsetMs: row.clock_offset_ms === null ? null : Number(row.clock_offset_ms) - trustedMs,
  };
}

function settingsOf(row: OverviewRow, { cache, shown, now }: View) {
  const subject = settingsSubjectOf(row);
  const { fingerprint: desired } = cache.settingsOf(subject);
  const { settings } = cache.resolvedOfSubject(subject);
  const applied = row.applied_fingerprint?.toString('hex') ?? null;
  const isReverted = row.candidate_state === 'reverted';
  const failed = isReverted ? (row.candidate_fingerprint?.toString('hex') ?? null) : null;
  const ways = wayFactsOf(row);
  const channel = channelOf(row, now);
  return {
    settingsState: settingsState({ desired, applied, failed }),
    fingerprint: { desired, applied },
    communicationDirection: settings.communicationDirection.value,
    directionInForce: row.direction_in_force,
    connectionMode: settings.connectionMode.value,
    carrierInUse: carrierInUse(ways, { isHeld: channel.state === 'open' }),
    proxyInUse: row.proxy_in_use,
    channel: { ...channel, since: shown(channel.since) },
    listenerReachable: listenerReachable(ways),
    lastDial: lastDialOf(row, shown),
  };
}

function detailOf(row: ComputerDetailRow, clock: FleetClock) {
  const { serial, not_before: notBefore, not_after: notAfter } = row;
  return {
    components: (row.components ?? []).map(({ since, ...part }) => ({
      ...part,
      since: toRfc3339(clock.toWall(since)),
    })),
    counters: row.counters ?? null,
    facts: row.facts ?? null,
    spool: row.spool && spoolOf(row.spool),
    ...contactsOf(row.contacts, (at) => toRfc3339(clock.toWall(at))),
    agentTimeAt: row.agent_time_ms === null ? null : toRfc3339(row.agent_time_ms),
    tls: row.tls_version === null ? null : { version: row.tls_version, cipher: row.tls_cipher },
    certificate:
      serial && notBefore && notAfter
        ? { serial, notBefore: notBefore.toISOString(), notAfter: notAfter.toISOString() }
        : null,
  };
}

function spoolOf({ bytes, lanes }: SpoolReport): ComputerDetailDto['spool'] {
  return { bytes, lanes: Object.fromEntries(lanes.map(({ lane, ...facts }) => [lane, facts])) };
}

function asInstant(value: string | number | null): FleetInstant | null {
  return value === null ? null : Number(value);
}
