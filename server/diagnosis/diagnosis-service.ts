import { toRfc3339 } from '../../lib/clock.js';
import { Problem } from '../../lib/problem.js';
import { adviceFor, diagnose } from '../../policies/diagnosis-rules.js';
import { CLOCK_ADVICE } from '../../policies/clock-classification.js';
import { Scope } from '../access/scope.js';
import type { AuditLog } from '../audit/audit.js';
import { readClock, readClockRow } from '../clocks/index.js';
import type { UnitOfWork } from '../database/in-transaction.js';
import { sqlOfManager, type Sql } from '../database/sql.js';
import type { Prober } from '../dials/index.js';
import type { FleetClock } from '../fleet-clock/fleet-clock.js';
import type { LivenessHints } from '../heartbeats/liveness-hints.js';
import type { DeafSpan } from '../listening/listening.js';
import type { Caller } from '../policies/forest-edit.js';
import type { DiagnosisDto, ProbeDto } from './diagnosis-dto.js';
import { readDiagnosisLists, readDiagnosisRow, storeProbe, type DiagnosisRow } from './diagnosis-query.js';
import {
  diagnosisFactsOf,
  evidenceOf,
  isNotableClock,
  spansOfInterest,
  type Known,
  type Maintenance,
} from './evidence-rules.js';

export interface DiagnosisDeps {
  readonly sql: Sql;
  readonly inTransaction: UnitOfWork;
  readonly clock: FleetClock;
  readonly audit: AuditLog;
  readonly hints: Pick<LivenessHints, 'reconsider'>;
  /** The deaf spans that are known now, of the listening ledger. */
  readonly spans: () => readonly DeafSpan[];
  readonly prober: Pick<Prober, 'probe'>;
  readonly maintenanceOf: (row: DiagnosisRow, scope: Scope) => Promise<Maintenance | null>;
}

export interface DiagnosisService {
  /** Throws `computer-not-found` for a computer outside the scope. */
  get(scope: Scope, computerId: string): Promise<DiagnosisDto>;
  /** Connects to the computer's listener now, tells the audit log, and has the computer looked at again if it answered. */
  probe(caller: Caller, computerId: string): Promise<ProbeDto>;
}

export function createDiagnosisService(deps: DiagnosisDeps): DiagnosisService {
  return {
    async get(scope, computerId) {
      const row = await findRow(deps, scope, computerId);
      return toDto(deps, await gather(deps, scope, row));
    },
    async probe({ actor, scope }, computerId) {
      await findRow(deps, scope, computerId);
      const { result, detail, hostUp } = await deps.prober.probe(computerId);
      const at = Math.ceil(deps.clock.fleet());
      await deps.inTransaction(async (manager) => {
        const sql = sqlOfManager(manager);
        const isStored = await storeProbe(sql, { computerId, at, result, detail: storable(detail), hostUp });
        if (!isStored) throw new Problem('computer-not-found');
        const subject = { subjectType: 'computer', subjectId: computerId };
        await deps.audit.append(sql, { actor, action: 'computer.probed', ...subject, after: { result, hostUp } });
      });
      if (result === 'answered') deps.hints.reconsider([computerId]);
      return { at: shownBy(deps)(at), result, detail: storable(detail), hostUp };
    },
  };
}

const LONGEST_DETAIL = 1024;

/** What a peer made Node say, as text that the database takes. */
function storable(detail: string | null): string | null {
  return detail?.replaceAll('\0', '').toWellFormed().slice(0, LONGEST_DETAIL) ?? null;
}

async function findRow({ sql }: DiagnosisDeps, scope: Scope, computerId: string): Promise<DiagnosisRow> {
  const row = await readDiagnosisRow(sql, scope, computerId);
  if (!row) throw new Problem('computer-not-found');
  return row;
}

async function gather(deps: DiagnosisDeps, scope: Scope, row: DiagnosisRow): Promise<Known> {
  const { clock, sql, spans, maintenanceOf } = deps;
  const lists = await readDiagnosisLists(sql, scope, row.computer_id);
  const maintenance = await maintenanceOf(row, scope);
  const at = clock.fleet();
  const certificate = certificateOf(row, clock.toTrusted(at) - at);
  const clockRow = await readClockRow(sql, Scope.all, row.computer_id);
  const read = clockRow && (await readClock({ sql, clock }, clockRow));
  return {
    at,
    row,
    lists,
    spans: spans(),
    maintenance,
    certificate,
    clock: read ?? { classification: 'unknown', estimate: null },
    agentError: agentErrorOf(row, clock),
  };
}

/** Certificates are dated by trusted time. */
function certificateOf({ not_before: from, not_after: to }: DiagnosisRow, trustedMs: number): Known['certificate'] {
  if (!from || !to) return null;
  return { notBefore: from.getTime() - trustedMs, notAfter: to.getTime() - trustedMs };
}

/** The agent dates its errors by its own clock. */
function agentErrorOf({ last_transport_error: error, clock_offset_ms: offset }: DiagnosisRow, clock: FleetClock) {
  if (!error) return null;
  return { ...error, at: offset === null ? clock.toFleet(error.at) : error.at - offset };
}

function shownBy({ clock }: Pick<DiagnosisDeps, 'clock'>): (instant: number) => string {
  return (instant) => toRfc3339(clock.toWall(instant));
}

function toDto(deps: DiagnosisDeps, known: Known): DiagnosisDto {
  const shown = shownBy(deps);
  const { row, lists, maintenance } = known;
  const { reason, confidence, hostUp } = diagnose(diagnosisFactsOf(known));
  const advice = adviceFor(reason, {
    hostUp,
    isInMaintenance: maintenance !== null,
    isInIncident: lists.alerts.some((alert) => alert.incident_subject !== null),
    isProvingSettings: row.candidate_state === 'proving',
    wasDeaf: row.status !== 'online' && spansOfInterest(known).length > 0,
  });
  const ofClock = isNotableClock(known.clock) ? CLOCK_ADVICE[known.clock.classification] : [];
  const evidence = evidenceOf(known).map((one) => ({ ...one, at: shown(one.at) }));
  return {
    status: row.status,
    since: shown(row.since_fleet_ms),
    reason,
    confidence,
    hostUp,
    evidence,
    advice: [...advice, ...ofClock],
  };
}
