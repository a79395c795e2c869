import { createHash } from 'node:crypto';
import type { PoolClient } from 'pg';
import type { CertificateAuthority } from '../../certs/certificate-authority.js';
import { readSigningRequest, type SigningRequest } from '../../certs/csr.js';
import { busy, createGate } from '../../lib/gate.js';
import type { Log } from '../../lib/log.js';
import { Problem } from '../../lib/problem.js';
import type { Random } from '../../lib/random.js';
import { cleanName } from '../../lib/shown-name.js';
import { SHED_FROM, shedRetryAfterSeconds } from '../../policies/herd-rules.js';
import type { EnrollRequest, EnrollResponse } from '../../protocol/enrollment-messages.js';
import { hashEnrollmentSecret, parseEnrollmentToken } from '../../protocol/enrollment-token.js';
import type { SettingsOrder } from '../../protocol/heartbeat-messages.js';
import { PROTOCOL_VERSION } from '../../protocol/protocol-version.js';
import type { Actor } from '../access/actor.js';
import type { AuditLog } from '../audit/audit.js';
import type { CertificateRepository } from '../certificates/certificate-repository.js';
import type { DatabaseBreaker } from '../database/database-breaker.js';
import type { PoolUnitOfWork } from '../database/in-transaction.js';
import { sqlOfClient, type Sql } from '../database/sql.js';
import type { FleetClock } from '../fleet-clock/fleet-clock.js';
import type { IdentityTokens } from '../heartbeats/identity-token.js';
import type { IngestMetrics } from '../heartbeats/ingest-metrics.js';
import type { LivenessHints } from '../heartbeats/liveness-hints.js';
import type { SettingsCache } from '../policies/settings-cache.js';
import type { EnrollLimits } from './enroll-limits.js';
import type { EnrolledComputer, EnrollRepository, StoredEnrollment } from './enroll-repository.js';
import { decideEnrollment, lifetimeDaysOf, tokenRefused, type StoredToken } from './enroll-rules.js';

export interface EnrollServiceDeps {
  readonly authority: CertificateAuthority;
  readonly inTransaction: PoolUnitOfWork;
  readonly repository: EnrollRepository;
  readonly certificates: CertificateRepository;
  readonly audit: AuditLog;
  readonly settings: SettingsCache;
  readonly limits: EnrollLimits;
  readonly tokens: IdentityTokens;
  readonly hints: Pick<LivenessHints, 'reconsider'>;
  readonly breaker: DatabaseBreaker;
  /** The share of the report queue that is in use, 0 to 1: enrollments give way first. */
  readonly load?: () => number;
  readonly fleetClock: FleetClock;
  readonly random: Random;
  readonly metrics: IngestMetrics;
  readonly log: Log;
  /** Told to agents, in order of preference; empty: the address that answered. */
  readonly managerUrls?: readonly string[];
  /** Enrollments that hold a connection at once: few, since heartbeats come first. */
  readonly maxConcurrent?: number;
  /** Enrollments that wait for their turn; what comes beyond is turned away. */
  readonly maxWaiting?: number;
}

export interface EnrollService {
  /** Throws `enrollment-token-refused`, `csr-invalid`, `too-many-requests` or `unavailable`. */
  enroll(request: EnrollRequest, address: string | null): Promise<EnrollResponse>;
}

interface Attempt {
  readonly request: EnrollRequest;
  readonly csr: SigningRequest;
  readonly tokenHash: Buffer;
  readonly tokenKey: string;
  readonly address: string | null;
}

interface Enrolled {
  readonly computer: EnrolledComputer;
  readonly certificatePem: string;
  readonly isNew: boolean;
  readonly settings: SettingsOrder;
  readonly epoch: string;
}

type Result = Enrolled | { readonly refused: string; readonly tokenId: string | null };

/** A transaction may need a second connection for newer settings: all of a pool must never be enrolling. */
const MOST_CONCURRENT = 2;
const MOST_WAITING = 256;
const AWAY_RETRY_SECONDS = 2;
/** Whoever enrolls is answered within a second, also that the database is away. */
const ATTEMPTS = 3;
/** An agent asks by its host's name, and nobody stands there who could mend it. */
const NAMES = { max: 253, fallback: 'computer' };

/** Enrollment by token and CSR (design.md §8); neither is ever logged. */
export function createEnrollService(deps: EnrollServiceDeps): EnrollService {
  const gate = createGate({
    width: deps.maxConcurrent ?? MOST_CONCURRENT,
    length: deps.maxWaiting ?? MOST_WAITING,
    refusal: busy('Too many enrollments at once.'),
  });
  return {
    async enroll(request, address) {
      assertCalm(deps);
      const attempt = admit(deps, request, address);
      return gate(() => guarded(deps, () => enroll(deps, attempt)));
    },
  };
}

function assertCalm({ load, metrics }: EnrollServiceDeps): void {
  if (!load || load() < SHED_FROM.enrollment) return;
  metrics.enrollmentsRefused += 1;
  throw new Problem('unavailable', {
    detail: 'Heartbeats go first at this moment.',
    retryAfterSeconds: shedRetryAfterSeconds('enrollment', metrics.enrollmentsRefused),
  });
}

/** Who waited in line while the database went away is not made to find it out in turn. */
async function guarded<T>({ breaker }: EnrollServiceDeps, action: () => Promise<T>): Promise<T> {
  if (!breaker.admits())
    throw new Problem('unavailable', {
      detail: 'The database is not available.',
      retryAfterSeconds: AWAY_RETRY_SECONDS,
    });
  try {
    return await action();
  } catch (error) {
    if (error instanceof Problem && error.code === 'unavailable') breaker.note('away');
    throw error;
  }
}

function admit(deps: EnrollServiceDeps, request: EnrollRequest, address: string | null): Attempt {
  const parsed = parseEnrollmentToken(request.token);
  const tokenHash = parsed ? hashEnrollmentSecret(parsed.secret) : createHash('sha256').update(request.token).digest();
  const tokenKey = tokenHash.toString('base64');
  const waitMs = deps.limits.admit({ tokenKey, address, now: deps.fleetClock.monotonic() });
  if (waitMs > 0) {
    deps.metrics.enrollmentsRefused += 1;
    const detail = 'Enrollments come too fast.';
    throw new Problem('too-many-requests', { detail, retryAfterSeconds: Math.min(60, Math.ceil(waitMs / 1000)) });
  }
  const csr = readSigningRequest(request.csr);
  if (parsed && parsed.caFingerprint === deps.authority.rootFingerprint)
    return { request, csr, tokenHash, tokenKey, address };
  deps.metrics.enrollmentsRefused += 1;
  throw tokenRefused();
}

async function enroll(deps: EnrollServiceDeps, attempt: Attempt): Promise<EnrollResponse> {
  const { metrics, log } = deps;
  const result = await deps.inTransaction((client: PoolClient) => enrollIn(deps, sqlOfClient(client), attempt), {
    idempotent: true,
    attempts: ATTEMPTS,
  });
  if ('refused' in result) {
    metrics.enrollmentsRefused += 1;
    log.info({ tokenId: result.tokenId, why: result.refused, address: attempt.address }, 'An enrollment was refused');
    throw tokenRefused();
  }
  const { computer, isNew } = result;
  if (isNew) {
    metrics.enrollments += 1;
    deps.hints.reconsider([computer.id]);
    log.info({ computerId: computer.id, computerName: computer.name, address: attempt.address }, 'A computer enrolled');
  }
  return toResponse(deps, result);
}

function toResponse(deps: EnrollServiceDeps, { computer, certificatePem, settings, epoch }: Enrolled): EnrollResponse {
  const { authority, fleetClock } = deps;
  return {
    protocolVersion: PROTOCOL_VERSION,
    computerId: computer.id,
    name: computer.name,
    policy: { id: computer.subject.policyId, name: computer.policyName },
    certificate: certificatePem,
    chain: [authority.intermediatePem, authority.rootPem],
    trustDomain: authority.trustDomain,
    managerUrls: deps.managerUrls ?? [],
    managerTime: Math.max(0, Math.round(fleetClock.trustedTime())),
    identityToken: deps.tokens.tokenOf(computer.id, epoch, 0),
    settings,
  };
}

async function enrollIn(deps: EnrollServiceDeps, sql: Sql, attempt: Attempt): Promise<Result> {
  const { repository } = deps;
  const token = await repository.lockToken(sql, attempt.tokenHash);
  if (token?.ratePerSecond) deps.limits.learn(attempt.tokenKey, token.ratePerSecond);
  const former = token && (await repository.findFormer(sql, token.id, attempt.csr.keyDigest));
  const decision = decideEnrollment(token, former, deps.fleetClock.trustedTime());
  if (decision.kind === 'refused') return refuse(deps, sql, { token, attempt, why: decision.why });
  if (!token) return refuse(deps, sql, { token, attempt, why: 'unknown' });
  if (decision.kind === 'again') return again(deps, sql, former);
  if (decision.kind === 'existing') return takeExisting(deps, sql, { attempt, token, computerId: decision.computerId });
  const computerId = deps.random.uuid();
  await repository.insertComputer(sql, {
    id: computerId,
    name: cleanName(attempt.request.name, NAMES),
    token,
    at: { wall: deps.fleetClock.wall(), fleet: Math.floor(deps.fleetClock.fleet()) },
  });
  return certify(deps, sql, { attempt, token, computerId });
}

/** The token names a record made beforehand; what is revoked stays so. */
async function takeExisting(deps: EnrollServiceDeps, sql: Sql, certification: Certification): Promise<Result> {
  const { repository, fleetClock } = deps;
  const { attempt, token, computerId } = certification;
  const isThere = await repository.lockComputer(sql, computerId);
  const found = isThere ? await repository.getComputer(sql, computerId) : undefined;
  if (!found || found.computer.isRevoked) return refuse(deps, sql, { token, attempt, why: 'revoked' });
  await repository.markEnrolled(sql, computerId, Math.floor(fleetClock.fleet()));
  return certify(deps, sql, certification);
}

async function again(deps: EnrollServiceDeps, sql: Sql, former: StoredEnrollment | undefined): Promise<Result> {
  const found = former && (await deps.repository.getComputer(sql, former.computerId));
  if (!former || !found) return { refused: 'revoked', tokenId: null };
  const { computer, generation } = found;
  const settings = await settingsOf(deps, found);
  return { computer, certificatePem: former.certificatePem, isNew: false, settings, epoch: generation.epoch };
}

type Found = NonNullable<Awaited<ReturnType<EnrollRepository['getComputer']>>>;

/** The effective settings, of a cache that is at least as new as the record. */
async function settingsOf({ settings }: EnrollServiceDeps, { computer, generation }: Found): Promise<SettingsOrder> {
  await settings.ensure(generation);
  const { fingerprint, json } = settings.settingsOf(computer.subject);
  return { fingerprint, generation: settings.generation(), json };
}

interface Certification {
  readonly attempt: Attempt;
  readonly token: StoredToken;
  readonly computerId: string;
}

/** Issues the certificate and stores it with all that belongs to it. */
async function certify(
  deps: EnrollServiceDeps,
  sql: Sql,
  { attempt, token, computerId }: Certification,
): Promise<Enrolled> {
  const { repository, authority, certificates, fleetClock } = deps;
  const found = await repository.getComputer(sql, computerId);
  if (!found) throw new Error('The record of an enrollment is gone inside its transaction');
  const { computer, generation } = found;
  const settings = await settingsOf(deps, found);
  const lifetimeDays = lifetimeDaysOf(settings.json);
  const { csr, address } = attempt;
  const issued = authority.issueComputer({ computerId, spkiDer: csr.spkiDer, lifetimeDays });
  const { serial, pem, notBefore, notAfter } = issued;
  const at = fleetClock.wall();
  await certificates.revokeOf(sql, computerId, { reason: 'superseded', at });
  const { keyDigest } = csr;
  await certificates.insert(sql, { serial, computerId, keyDigest, pem, notBefore, notAfter, issuedAt: at });
  await repository.insertEnrollment(sql, { tokenId: token.id, keyDigest, computerId, serial, at });
  const { agentVersion, platform, protocolVersion } = attempt.request;
  const enrolledFrom = { computerId, agentVersion, platform, protocolVersion, address, at: fleetClock.fleet() };
  await repository.storeFacts(sql, enrolledFrom);
  await deps.audit.append(sql, {
    actor: tokenActor(token, attempt.address),
    action: 'computer.enrolled',
    subjectType: 'computer',
    subjectId: computerId,
    after: { name: computer.name, policyId: token.policyId, serial },
  });
  return { computer, certificatePem: pem, isNew: true, settings, epoch: generation.epoch };
}

interface Refusal {
  readonly token: StoredToken | undefined;
  readonly attempt: Attempt;
  readonly why: string;
}

/** A refusal of a token that exists is worth an audit row; the transaction stores nothing else. */
async function refuse({ audit }: EnrollServiceDeps, sql: Sql, { token, attempt, why }: Refusal): Promise<Result> {
  if (!token) return { refused: why, tokenId: null };
  await audit.append(sql, {
    actor: tokenActor(token, attempt.address),
    action: 'enrollment.refused',
    subjectType: 'enrollment-token',
    subjectId: token.id,
    after: { why, keyDigest: attempt.csr.keyDigest },
  });
  return { refused: why, tokenId: token.id };
}

function tokenActor({ id }: StoredToken, sourceAddress: string | null): Actor {
  return { kind: 'manager', id: `enrollment-token/${id}`, name: 'enrollment token', role: 'auditor', sourceAddress };
}
