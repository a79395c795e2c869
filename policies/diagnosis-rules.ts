import { dialStatusReason, goodbyeStatusReason } from './status-model.js';
import type { GoodbyeReason, Status, StatusReason } from './status-model.js';

/**
 * How sure a diagnosis is. `high`: the agent or the manager itself said so, or something answered over a way that had
 * worked before. `medium`: one observation of this silence that fits other causes too. `low`: it is inferred from before the
 * silence, or nothing is known.
 */
export const CONFIDENCES = ['low', 'medium', 'high'] as const;
export type Confidence = (typeof CONFIDENCES)[number];

/** Who observed a piece of evidence. */
export const EVIDENCE_SOURCES = ['manager', 'agent', 'dial', 'probe', 'operator', 'policy'] as const;
export type EvidenceSource = (typeof EVIDENCE_SOURCES)[number];

/** Why the agent port turned away a computer whose certificate had proven which one it is. */
export const REFUSAL_CODES = [
  'tls-expired',
  'tls-not-yet-valid',
  'revoked',
  'identity-mismatch',
  'throttled',
  'report-refused',
] as const;
export type RefusalCode = (typeof REFUSAL_CODES)[number];

/** What the last of the manager's connections to an agent's listener came to; fleet milliseconds. */
export interface DialObservation {
  readonly at: number;
  /** `answered`, or a code of server/dials/dial-failure.ts. */
  readonly result: string;
  readonly hostUp: boolean | null;
}

/** What is known of one computer at an instant; instants in fleet milliseconds. */
export interface DiagnosisFacts {
  readonly at: number;
  readonly status: Status;
  /** The stored reason of the status. */
  readonly statusReason: string;
  readonly isEnrolled: boolean;
  readonly lastSeenAt: number | null;
  readonly goodbye: { readonly reason: GoodbyeReason; readonly receivedAt: number } | null;
  /** The last of each code. */
  readonly refusals: readonly { readonly code: RefusalCode; readonly at: number }[];
  readonly dials: readonly DialObservation[];
  /** The agent listens: the manager reached it before, or nobody but the manager ever opens a connection. */
  readonly isWayProven: boolean;
  readonly certificate: { readonly notBefore: number; readonly notAfter: number } | null;
  /** The agent's clock less the fleet clock. */
  readonly clockOffsetMs: number | null;
  /** What the agent's last report told of the attempts before it. */
  readonly agentError: { readonly code: string; readonly at: number } | null;
  /** The alert duplicate-identity is open. */
  readonly isDuplicateSuspected: boolean;
}

export interface Diagnosis {
  readonly reason: StatusReason;
  readonly confidence: Confidence;
  /** Whether the machine answered since it was heard last, even without its agent; null where nobody can tell. */
  readonly hostUp: boolean | null;
}

type Finding = Pick<Diagnosis, 'reason' | 'confidence'>;

/** Statuses that say themselves why. */
const SETTLED: Readonly<Partial<Record<Status, StatusReason>>> = {
  revoked: 'revoked',
  stopped: 'power-stopped',
};

/** Why a computer has its status: of all findings the surest one, of equal ones the first in the order of `findingsOf`. */
export function diagnose(facts: DiagnosisFacts): Diagnosis {
  const hostUp = hostUpNow(facts);
  const settled = SETTLED[facts.status];
  if (settled) return { reason: settled, confidence: 'high', hostUp };
  const findings = facts.status === 'online' ? freshFindings(facts) : findingsOf(facts);
  const [best] = findings.toSorted((a, b) => rankOf(b) - rankOf(a));
  return { ...(best ?? nothingFound(facts)), hostUp };
}

function rankOf({ confidence }: Finding): number {
  return CONFIDENCES.indexOf(confidence);
}

function findingsOf(facts: DiagnosisFacts): Finding[] {
  return [
    goodbyeFinding(facts),
    refusalFinding(facts),
    dialFinding(facts),
    facts.isDuplicateSuspected ? found('duplicate', 'medium') : undefined,
    certificateFinding(facts),
    agentErrorFinding(facts),
  ].filter((finding) => finding !== undefined);
}

/** What was seen since the last report of one whose next is not overdue; one that announced its return is waited for. */
function freshFindings(facts: DiagnosisFacts): Finding[] {
  const goodbye = goodbyeFinding(facts);
  if (goodbye) return WAITED_FOR.has(goodbye.reason) ? [] : [goodbye];
  const dial = facts.isWayProven ? dialFinding(facts) : undefined;
  return [refusalFinding(facts), dial].filter((finding) => finding !== undefined);
}

const WAITED_FOR: ReadonlySet<StatusReason> = new Set(['goodbye-restart', 'goodbye-update']);

function found(reason: StatusReason, confidence: Confidence): Finding {
  return { reason, confidence };
}

function nothingFound({ status, statusReason, isEnrolled }: DiagnosisFacts): Finding {
  if (status === 'online') return found('in-contact', 'high');
  if (status === 'pending') return found('never-seen', isEnrolled ? 'low' : 'high');
  if (status !== 'late') return found('unknown', 'low');
  return statusReason === 'absence-allowed' ? found('absence-allowed', 'high') : found('heartbeat-missed', 'low');
}

/** Of what happened before the last report nothing counts: the report came after it. */
function silentSince({ lastSeenAt }: DiagnosisFacts): number {
  return lastSeenAt ?? Number.NEGATIVE_INFINITY;
}

/** The agent's own word stands, unless it was heard of after it. */
function goodbyeFinding(facts: DiagnosisFacts): Finding | undefined {
  const { goodbye, refusals } = facts;
  if (!goodbye || goodbye.receivedAt < silentSince(facts)) return undefined;
  if (refusals.some(({ at }) => at > goodbye.receivedAt)) return undefined;
  return found(goodbyeStatusReason(goodbye.reason), 'high');
}

/**
 * In this order. A computer that is not revoked and shows a revoked certificate, or reports under another name, is a copy,
 * or a copy shows them in its name; some that were throttled need not be all of its reports.
 */
const REFUSAL_FINDINGS: Readonly<Partial<Record<RefusalCode, Finding>>> = {
  'tls-expired': found('tls-expired', 'high'),
  'tls-not-yet-valid': found('tls-not-yet-valid', 'high'),
  revoked: found('duplicate', 'medium'),
  'identity-mismatch': found('duplicate', 'medium'),
  throttled: found('throttled', 'medium'),
};

function refusalFinding(facts: DiagnosisFacts): Finding | undefined {
  const since = silentSince(facts);
  const fresh = new Set(facts.refusals.filter(({ at }) => at > since).map(({ code }) => code));
  const code = REFUSAL_CODES.find((one) => fresh.has(one) && REFUSAL_FINDINGS[one]);
  return code && REFUSAL_FINDINGS[code];
}

function lastDialOf(facts: DiagnosisFacts): DialObservation | undefined {
  const since = silentSince(facts);
  return facts.dials.filter(({ at }) => at > since).toSorted((a, b) => b.at - a.at)[0];
}

/** An answer says more than none, and over a way that worked before either says more than over one that never did. */
function dialFinding(facts: DiagnosisFacts): Finding | undefined {
  const dial = lastDialOf(facts);
  const reason = dial && reachReason(dial.result);
  if (!reason) return undefined;
  if (facts.isWayProven) return found(reason, dial.hostUp ? 'high' : 'medium');
  return found(reason, dial.hostUp ? 'medium' : 'low');
}

/** A host that cannot be reached is one that does not answer. */
function reachReason(code: string): StatusReason | null {
  return code === 'unreachable' ? 'timeout' : dialStatusReason(code);
}

/** By the dates alone: it would be refused, or would refuse us, but nobody saw that. */
function certificateFinding({ at, certificate, clockOffsetMs }: DiagnosisFacts): Finding | undefined {
  if (!certificate) return undefined;
  const { notBefore, notAfter } = certificate;
  if (at > notAfter) return found('tls-expired', 'medium');
  if (at < notBefore) return found('tls-not-yet-valid', 'medium');
  const agentsAt = at + (clockOffsetMs ?? 0);
  return agentsAt > notAfter || agentsAt < notBefore ? found('clock-skew', 'medium') : undefined;
}

/** An error that the agent met this long before its last report may have come back. */
const RECENT_MS = 900_000;

const AGENT_REASONS: Readonly<Record<string, StatusReason>> = {
  'clock-skew': 'clock-skew',
  'too-many-requests': 'throttled',
  'certificate-refused': 'tls-unknown-ca',
};

function agentErrorFinding({ agentError, lastSeenAt }: DiagnosisFacts): Finding | undefined {
  if (!agentError || lastSeenAt === null || Math.abs(lastSeenAt - agentError.at) > RECENT_MS) return undefined;
  const { code } = agentError;
  const known = Object.hasOwn(AGENT_REASONS, code) ? AGENT_REASONS[code] : reachReason(code);
  const reason = code.startsWith('proxy-') ? 'proxy-failed' : known;
  return reason ? found(reason, 'low') : undefined;
}

/** Those that a copy elsewhere could have caused say nothing of this machine. */
const OF_THIS_MACHINE: ReadonlySet<RefusalCode> = new Set([
  'tls-expired',
  'tls-not-yet-valid',
  'throttled',
  'report-refused',
]);

function hostUpNow(facts: DiagnosisFacts): boolean | null {
  const wasJustHeard = facts.status === 'online';
  if (wasJustHeard && !facts.isWayProven) return true;
  const since = silentSince(facts);
  const refusals = facts.refusals.filter(({ code, at }) => OF_THIS_MACHINE.has(code) && at > since);
  const dial = lastDialOf(facts);
  if (refusals.some(({ at }) => !dial || at >= dial.at)) return true;
  return dial?.hostUp ?? (wasJustHeard || null);
}

const ANSWERS: ReadonlySet<string> = new Set([
  'answered',
  'refused',
  'reset',
  'protocol',
  'tls-expired',
  'tls-not-yet-valid',
  'tls-unknown-ca',
  'tls-refused',
]);

/**
 * What a connection's end says of the machine: a kernel that refuses or resets is up, and so is one that took the
 * connection although no agent answered on it; nothing at all within the time means that nothing is there.
 */
export function hostUpOf(result: string, hasConnected: boolean): boolean | null {
  // Another computer answers where this one is looked for.
  if (result === 'tls-other-computer') return null;
  if (hasConnected || ANSWERS.has(result)) return true;
  return result === 'timeout' || result === 'unreachable' ? false : null;
}

/** What an operator does at night, by reason. */
export const ADVICE: Readonly<Record<StatusReason, readonly string[]>> = {
  'never-seen': [
    'Enroll an agent for this record, or look at the log of the one that enrolled: it never reported.',
    'Check that the machine reaches the agent port.',
  ],
  'in-contact': ['Nothing to do: it reports in time.'],
  'heartbeat-missed': ['Wait for the next heartbeat: its policy allows this miss.'],
  'absence-allowed': ['Nothing to do: its policy allows any absence.'],
  'power-stopped': ['Nothing to do: the machine is said to be stopped. Start it, or correct its power state.'],
  'goodbye-shutdown': ['The machine was shut down in order. Ask who did, or start it.'],
  'goodbye-restart': ['It did not come back from a restart: look at its console.'],
  'goodbye-update': [
    "The agent did not come back from its update: look at the agent's log, and install the version before.",
  ],
  'goodbye-uninstall': ['The agent was uninstalled. Install it again, or delete the computer.'],
  suspended: ['The machine sleeps: wake it, or allow its absence in the policy.'],
  dns: ['Correct the name: it cannot be resolved. Check the DNS servers.'],
  refused: ['The machine runs and its agent does not: start it (systemctl start wardbeat-agent) and read its log.'],
  timeout: ['Nothing answers in time: check power, network and firewalls between the two.'],
  reset: ['Something cuts the connection: check proxies and firewalls, then the agent.'],
  'tls-expired': [
    'The certificate has expired: the agent renews it by itself within renewAfterExpiryDays; later enroll it anew, after a look at the clocks of both sides.',
  ],
  'tls-not-yet-valid': ['The certificate is not valid yet: correct the clock that is behind.'],
  'tls-unknown-ca': [
    'Somebody else answers, or decrypts between the two: exempt this traffic from inspection. An agent of another manager is enrolled anew.',
  ],
  'proxy-failed': [
    'Check the proxies of its policy, and the secrets that they name. On the machine: wardbeat-agent proxy test, proxy set.',
  ],
  'clock-skew': ["Correct the computer's clock: it is outside the dates of the certificates."],
  duplicate: ['Two machines use one identity: find the copy, and enroll it as a computer of its own.'],
  throttled: ['It was asked to wait: find out what it sends so much of. It comes back by itself.'],
  revoked: ['It was revoked for good: enroll it anew if that was a mistake.'],
  unknown: ['Ask the machine: POST /computers/:id/probe, then its console.'],
};

/** What else bears on what to do. */
export interface Circumstances {
  readonly hostUp: boolean | null;
  readonly isInMaintenance: boolean;
  readonly isInIncident: boolean;
  readonly isProvingSettings: boolean;
  /** The manager did not listen during a part of the silence. */
  readonly wasDeaf: boolean;
}

export const CIRCUMSTANCE_ADVICE = {
  hostUp: 'The machine itself answers: look at the agent on it.',
  hostDown: 'The machine does not answer either: look at it, not at the agent.',
  isInIncident: 'It fell silent together with others: look at the mass outage first.',
  isInMaintenance: 'It is in maintenance: this may be expected.',
  isProvingSettings: 'New settings are being tried out: it returns to the old ones by itself within minutes.',
  wasDeaf: 'The manager itself did not listen for a while: check GET /system before the computer.',
} as const;

/** In place of the advice for `timeout` where the machine takes connections. */
export const HANGING_ADVICE =
  'Connections are taken and not answered: the agent hangs or starves; look at its log, then restart it.';

export function adviceFor(reason: StatusReason, circumstances: Circumstances): string[] {
  const { hostUp, isInIncident, isInMaintenance, isProvingSettings, wasDeaf } = circumstances;
  const told: readonly (readonly [boolean, keyof typeof CIRCUMSTANCE_ADVICE])[] = [
    [isInIncident, 'isInIncident'],
    [isInMaintenance, 'isInMaintenance'],
    [wasDeaf, 'wasDeaf'],
    [isProvingSettings, 'isProvingSettings'],
    [hostUp === true && !TELLS_OF_HOST.has(reason), 'hostUp'],
    [hostUp === false && !TELLS_OF_HOST.has(reason), 'hostDown'],
  ];
  const advice = reason === 'timeout' && hostUp === true ? [HANGING_ADVICE] : ADVICE[reason];
  return [...told.flatMap(([holds, key]) => (holds ? [CIRCUMSTANCE_ADVICE[key]] : [])), ...advice];
}

/** Where it would be said twice, or is no matter. */
const TELLS_OF_HOST: ReadonlySet<StatusReason> = new Set([
  'in-contact',
  'refused',
  'revoked',
  'power-stopped',
  'goodbye-shutdown',
  'suspended',
]);
