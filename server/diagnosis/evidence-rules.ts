import type { DiagnosisFacts, DialObservation, EvidenceSource, RefusalCode } from '../../policies/diagnosis-rules.js';
import { goodbyeStatusReason, STATUS_REASONS } from '../../policies/status-model.js';
import { describeClock } from '../../policies/clock-classification.js';
import type { ReadClock } from '../clocks/index.js';
import type { FleetInstant } from '../fleet-clock/fleet-clock.js';
import type { DeafSpan } from '../listening/listening.js';
import type {
  DiagnosisLists,
  DiagnosisRow,
  GapRow,
  OpenAlertRow,
  RefusalRow,
  StatusChangeRow,
} from './diagnosis-query.js';

export interface Evidence {
  readonly at: FleetInstant;
  readonly source: EvidenceSource;
  readonly code: string;
  readonly detail: string;
}

export interface Maintenance {
  /** As it is shown. */
  readonly until: string | null;
  readonly name: string;
}

/** All that is known of a computer; the dates of its certificate in fleet milliseconds. */
export interface Known {
  readonly at: FleetInstant;
  readonly row: DiagnosisRow;
  readonly lists: DiagnosisLists;
  readonly spans: readonly DeafSpan[];
  readonly maintenance: Maintenance | null;
  readonly certificate: DiagnosisFacts['certificate'];
  /** What its clock is taken for. */
  readonly clock: Pick<ReadClock, 'classification' | 'estimate'>;
  readonly agentError: (DiagnosisRow['last_transport_error'] & { readonly at: FleetInstant }) | null;
}

const MOST_EVIDENCE = 50;
const MOST_SPANS = 5;
/** Less is no matter for any certificate. */
const NOTABLE_OFFSET_MS = 60_000;

/** Newest first, and no more than the newest fifty. */
export function evidenceOf(known: Known): Evidence[] {
  return [
    ...contactEvidence(known),
    ...agentEvidence(known),
    ...clockEvidence(known),
    ...dialEvidence(known.row),
    ...probeEvidence(known.row),
    ...settingsEvidence(known.row),
    ...powerEvidence(known.row),
    ...certificateEvidence(known),
    ...known.lists.changes.map(changeEvidence),
    ...known.lists.gaps.map(gapEvidence),
    ...known.lists.refusals.flatMap(refusalEvidence),
    ...known.lists.alerts.flatMap(alertEvidence),
    ...spansOfInterest(known).map(spanEvidence),
    ...maintenanceEvidence(known),
  ]
    .toSorted((a, b) => b.at - a.at)
    .slice(0, MOST_EVIDENCE);
}

function contactEvidence({ row }: Known): Evidence[] {
  const { last_seen_fleet_ms: at, seen_by_dial_fleet_ms: dialled, farewell_ordered_fleet_ms: ordered } = row;
  const evidence: Evidence[] = [];
  if (at !== null) {
    const how = dialled === at ? 'on a connection of the manager' : 'on a connection of the agent';
    const from = row.observed_address === null ? '' : ` from ${row.observed_address}`;
    evidence.push({ at, source: 'manager', code: 'last-heard', detail: `The last report came ${how}${from}.` });
  }
  if (ordered !== null) {
    const detail = 'It was revoked, and its agent has not been told yet.';
    evidence.push({ at: ordered, source: 'manager', code: 'farewell-pending', detail });
  }
  return evidence;
}

function agentEvidence({ row, agentError }: Known): Evidence[] {
  const evidence: Evidence[] = [];
  const { goodbye_reason: goodbye, goodbye_fleet_ms: saidAt, goodbye_expected_ms: expectedMs } = row;
  if (goodbye !== null && saidAt !== null) {
    const code = goodbyeStatusReason(goodbye);
    const back = expectedMs === null ? '' : ` It wanted to be back within ${seconds(expectedMs)}.`;
    evidence.push({ at: saidAt, source: 'agent', code, detail: `${STATUS_REASONS[code]}${back}` });
  }
  if (agentError) {
    const detail = `Before its last report it could not reach the manager: ${agentError.detail}`;
    evidence.push({ at: agentError.at, source: 'agent', code: agentError.code, detail });
  }
  return evidence;
}

function clockEvidence({ clock: { classification, estimate } }: Known): Evidence[] {
  if (!isNotableClock({ classification, estimate }) || !estimate) return [];
  const detail = sentence(`its clock: ${describeClock(classification, estimate.aheadMs)}`);
  return [{ at: estimate.at, source: 'agent', code: 'clock-offset', detail }];
}

/** Whether there is something to say of a clock. */
export function isNotableClock({ classification, estimate }: Known['clock']): boolean {
  if (!estimate || classification === 'in-order') return false;
  return classification !== 'standing-offset' || Math.abs(estimate.aheadMs) - estimate.errorMs >= NOTABLE_OFFSET_MS;
}

function dialEvidence(row: DiagnosisRow): Evidence[] {
  const evidence: Evidence[] = [];
  const { seen_by_dial_fleet_ms: answeredAt, last_dial_ended_fleet_ms: endedAt, last_dial_result: result } = row;
  if (answeredAt !== null)
    evidence.push({ at: answeredAt, source: 'dial', code: 'answered', detail: 'Its listener answered the manager.' });
  if (endedAt !== null && result !== null && result !== 'answered') {
    const times = `Dials in a row that failed: ${row.last_dial_failures ?? 1}.`;
    const detail = `${sentence(row.last_dial_detail ?? result)}${hostText(row.last_dial_host_up)} ${times}`;
    evidence.push({ at: endedAt, source: 'dial', code: result, detail });
  }
  return evidence;
}

function probeEvidence(row: DiagnosisRow): Evidence[] {
  const { probe_ended_fleet_ms: at, probe_result: code } = row;
  if (at === null || code === null) return [];
  const said = code === 'answered' ? 'Its listener proved to be that computer.' : sentence(row.probe_detail ?? code);
  return [{ at, source: 'probe', code, detail: `${said}${hostText(row.probe_host_up)}` }];
}

function hostText(hostUp: boolean | null): string {
  if (hostUp === null) return '';
  return hostUp ? ' The machine answered.' : ' The machine did not answer.';
}

function settingsEvidence(row: DiagnosisRow): Evidence[] {
  const evidence: Evidence[] = [];
  const { candidate_state: state, candidate_since_fleet_ms: since, last_seen_fleet_ms: seenAt } = row;
  if (state === 'proving' && since !== null) {
    const detail = 'New settings could cut the agent off: they are tried out, and not in force yet.';
    evidence.push({ at: since, source: 'policy', code: 'settings-proving', detail });
  }
  if (state === 'reverted' && since !== null) {
    const why = [row.candidate_reason, row.candidate_detail].filter((part) => part !== null).join(': ');
    const detail = `New settings would have cut the agent off; it keeps the old ones. ${sentence(why || 'No reason was given')}`;
    evidence.push({ at: since, source: 'agent', code: 'settings-reverted', detail });
  }
  if (row.listener_state === 'failed' && seenAt !== null) {
    const detail = `It cannot listen: ${sentence(row.listener_detail ?? 'no reason was given')}`;
    evidence.push({ at: seenAt, source: 'agent', code: 'listener-failed', detail });
  }
  return evidence;
}

function powerEvidence({
  power_source: source,
  power_state: state,
  power_since_fleet_ms: at,
}: DiagnosisRow): Evidence[] {
  if (source === null || source === 'report' || at === null) return [];
  return [{ at, source: 'operator', code: `power-${state}`, detail: `${source} said that the machine is ${state}.` }];
}

function certificateEvidence({ at, certificate }: Known): Evidence[] {
  if (!certificate || at <= certificate.notAfter) return [];
  const detail = 'Its certificate expired, and no newer one was issued.';
  return [{ at: certificate.notAfter, source: 'manager', code: 'certificate-expired', detail }];
}

function changeEvidence({ status, previous_status: previous, reason, since_fleet_ms: at }: StatusChangeRow): Evidence {
  const detail = status === previous ? `Still ${status}: ${reason}.` : `From ${previous} to ${status}: ${reason}.`;
  return { at, source: 'manager', code: `status-${status}`, detail };
}

function gapEvidence({ from_fleet_ms: from, until_fleet_ms: until, deaf_ms: deafMs }: GapRow): Evidence {
  const deaf = deafMs > 0 ? `; the manager did not listen for ${seconds(deafMs)} of that` : '';
  return { at: until, source: 'manager', code: 'gap', detail: `It was silent for ${seconds(until - from)}${deaf}.` };
}

const REFUSAL_TEXTS: Readonly<Record<RefusalCode, string>> = {
  'tls-expired': 'It was refused: its certificate had expired.',
  'tls-not-yet-valid': 'It was refused: its certificate was not valid yet.',
  revoked: 'It was refused: the certificate that it showed is revoked.',
  'identity-mismatch': 'A report with its certificate named another computer, and was refused.',
  throttled: 'It was asked to wait: it had sent too much.',
  'report-refused': 'Its report was refused.',
};

/** The newest one with all that is known of it. */
function refusalEvidence({ code, instants, source_address: address, detail }: RefusalRow): Evidence[] {
  return instants.map((at, index) => {
    const isNewest = index === instants.length - 1;
    const from = isNewest && address !== null ? ` It came from ${address}.` : '';
    const why = isNewest && detail !== null ? ` ${detail}` : '';
    return { at, source: 'manager', code, detail: `${REFUSAL_TEXTS[code]}${why}${from}` };
  });
}

function alertEvidence(alert: OpenAlertRow): Evidence[] {
  const { type, reason, raised_fleet_ms: at, incident_subject: subject, incident_raised_fleet_ms: begunAt } = alert;
  const evidence: Evidence[] = [];
  if (subject !== null && begunAt !== null) {
    const detail = `It fell silent together with others: mass outage of ${subject}.`;
    evidence.push({ at: begunAt, source: 'manager', code: 'mass-outage', detail });
  }
  const detail = `The alert ${type} is open: ${reason}.`;
  return [...evidence, { at, source: 'manager', code: `alert-${type}`, detail }];
}

/** The last ones that ended after the last report. */
export function spansOfInterest({ row, spans }: Pick<Known, 'row' | 'spans'>): readonly DeafSpan[] {
  const seenAt = row.last_seen_fleet_ms ?? row.created_fleet_ms;
  return spans.filter(({ until }) => until > seenAt).slice(-MOST_SPANS);
}

function spanEvidence({ from, until }: DeafSpan): Evidence {
  const detail = `The manager did not listen for ${seconds(until - from)}.`;
  return { at: until, source: 'manager', code: 'not-listening', detail };
}

function maintenanceEvidence({ at, maintenance }: Known): Evidence[] {
  if (!maintenance) return [];
  const end = maintenance.until === null ? ', no end in sight' : ` until ${maintenance.until}`;
  const detail = `In maintenance${end}, by ${maintenance.name}.`;
  return [{ at, source: 'policy', code: 'maintenance', detail }];
}

/** What the diagnosis is made from. */
export function diagnosisFactsOf({ at, row, lists, certificate, agentError }: Known): DiagnosisFacts {
  const { goodbye_reason: reason, goodbye_fleet_ms: receivedAt } = row;
  return {
    at,
    status: row.status,
    statusReason: row.status_reason,
    isEnrolled: row.enrolled_fleet_ms !== null,
    lastSeenAt: row.last_seen_fleet_ms,
    goodbye: reason !== null && receivedAt !== null ? { reason, receivedAt } : null,
    refusals: lists.refusals.map(({ code, instants }) => ({ code, at: instants.at(-1) ?? Number.NEGATIVE_INFINITY })),
    dials: dialObservations(row),
    isWayProven: isWayProven(row),
    certificate,
    clockOffsetMs: row.clock_offset_ms,
    agentError: agentError && { code: agentError.code, at: agentError.at },
    isDuplicateSuspected: lists.alerts.some(({ type }) => type === 'duplicate-identity'),
  };
}

/** One that was told not to listen, or said that it cannot, refuses whatever it does itself. */
function isWayProven({ direction_in_force: direction, listener_state: listener, ...row }: DiagnosisRow): boolean {
  if (direction === 'managerInitiated') return true;
  return row.seen_by_dial_fleet_ms !== null && direction !== 'agentInitiated' && listener !== 'failed';
}

function dialObservations(row: DiagnosisRow): DialObservation[] {
  const { last_dial_ended_fleet_ms: dialledAt, last_dial_result: dialled, last_dial_host_up: dialHostUp } = row;
  const { probe_ended_fleet_ms: probedAt, probe_result: probed, probe_host_up: probeHostUp } = row;
  return [
    ...(dialledAt === null || dialled === null ? [] : [{ at: dialledAt, result: dialled, hostUp: dialHostUp }]),
    ...(probedAt === null || probed === null ? [] : [{ at: probedAt, result: probed, hostUp: probeHostUp }]),
    // A connection that the manager had no room for saw nothing.
  ].filter(({ result }) => result !== 'own');
}

function seconds(ms: number): string {
  return `${Math.round(ms / 1000)} s`;
}

function sentence(text: string): string {
  const whole = `${text.charAt(0).toUpperCase()}${text.slice(1)}`;
  return /[.!?]$/.test(whole) ? whole : `${whole}.`;
}
