import type { CertificateAuthority } from '../../certs/certificate-authority.js';
import { readSigningRequest, type SigningRequest } from '../../certs/csr.js';
import { toRfc3339 } from '../../lib/clock.js';
import type { Log } from '../../lib/log.js';
import { Problem } from '../../lib/problem.js';
import { createBoundedMap, createTokenBucket } from '../../lib/token-bucket.js';
import type { Orders } from '../../protocol/heartbeat-messages.js';
import type { Sql } from '../database/sql.js';
import type { EventWriter } from '../events/event-writer.js';
import type { FleetClock } from '../fleet-clock/fleet-clock.js';
import type { Exchange } from '../heartbeats/exchange.js';
import type { CertificateDays } from '../policies/settings-cache.js';
import type {
  CertificateRepository,
  NewCertificate,
  Replacement,
  StoredCertificate,
} from './certificate-repository.js';
import { isStillGood } from './renewal-rules.js';

/** A report that is stored, under the lock of its live row. */
export interface RenewingReport {
  readonly exchange: Exchange;
  /** By the certificate that it came by. */
  readonly isFirstUse: boolean;
  readonly settings: { readonly certificateDays: CertificateDays };
}

export type RenewalAnswer = Pick<Orders, 'renewed' | 'renewalRefused'>;
/** By computer id. */
export type RenewalAnswers = ReadonlyMap<string, RenewalAnswer>;

/** What certificates and reports have to do with each other: no statement where nothing is asked for or used first. */
export interface ReportRenewals {
  /** In the transaction of the reports. What is left unanswered is asked for again. */
  store(sql: Sql, reports: readonly RenewingReport[]): Promise<RenewalAnswers>;
}

export const NO_RENEWALS: ReportRenewals = { store: async () => new Map() };

export interface ReportRenewalsDeps {
  readonly authority: Pick<CertificateAuthority, 'issueComputer' | 'intermediatePem' | 'rootPem'>;
  readonly certificates: Pick<CertificateRepository, 'insertAll' | 'findByKeys' | 'use'>;
  readonly events: Pick<EventWriter, 'appendManagerEvents'>;
  readonly fleetClock: Pick<FleetClock, 'trustedTime' | 'monotonic'>;
  readonly log: Log;
}

/** Each costs a millisecond of the thread that stores heartbeats: who is left out asks again with the next one. */
export const MOST_PER_BATCH = 16;
/** What one computer may have issued at once, and how often after that: a lost answer is no reason for another certificate. */
const BURST = 4;
const PER_SECOND = 1 / 600;
const MOST_COMPUTERS = 10_000;

interface Asked {
  readonly report: RenewingReport;
  readonly csr: SigningRequest;
}

export function createReportRenewals(deps: ReportRenewalsDeps): ReportRenewals {
  const buckets = createBoundedMap(MOST_COMPUTERS, () => createTokenBucket(PER_SECOND, BURST));
  const mayIssue = (computerId: string): boolean => {
    const bucket = buckets(computerId);
    const now = deps.fleetClock.monotonic();
    if (bucket.waitMs(now) > 0) return false;
    bucket.take(now);
    return true;
  };
  return {
    async store(sql, reports) {
      await noteUses(
        deps,
        sql,
        reports.filter(({ isFirstUse }) => isFirstUse),
      );
      const answers = new Map<string, RenewalAnswer>();
      const wanting = reports.filter(({ exchange }) => exchange.report.renewal).slice(0, MOST_PER_BATCH);
      if (wanting.length === 0) return answers;
      const asked = wanting.flatMap((report) => readRequest(report, answers));
      await answerAll(deps, sql, { asked, answers, mayIssue });
      return answers;
    },
  };
}

/** Only now the certificates before count no more: whoever did not get the new one still has the old one. */
async function noteUses(
  { certificates, events, fleetClock }: ReportRenewalsDeps,
  sql: Sql,
  reports: readonly RenewingReport[],
): Promise<void> {
  if (reports.length === 0) return;
  const serials = reports.map(({ exchange }) => exchange.identity.serial);
  const replaced = await certificates.use(sql, serials, fleetClock.trustedTime());
  const receivedAt = new Map(reports.map(({ exchange }) => [exchange.identity.computerId, exchange.receivedAt]));
  await events.appendManagerEvents(
    sql,
    replaced.map((replacement) => toEvent(replacement, receivedAt.get(replacement.computerId) ?? 0)),
  );
}

function toEvent({ computerId, serial, notAfter, superseded }: Replacement, at: number) {
  return {
    computerId,
    at,
    kind: 'certificate-renewed',
    severity: 'info' as const,
    message: 'The computer uses a new certificate; the one before is revoked',
    data: { serial, notAfter: toRfc3339(notAfter), superseded },
  };
}

/** What is no request is answered so, and costs the report nothing. */
function readRequest(report: RenewingReport, answers: Map<string, RenewalAnswer>): Asked[] {
  const { identity, report: said } = report.exchange;
  try {
    return [{ report, csr: readSigningRequest(said.renewal?.csr ?? '') }];
  } catch (error) {
    answers.set(identity.computerId, { renewalRefused: refusalOf(error) });
    return [];
  }
}

function refusalOf(error: unknown): NonNullable<RenewalAnswer['renewalRefused']> {
  if (!(error instanceof Problem)) throw error;
  return { code: error.code, detail: (error.facts.detail ?? '').slice(0, 1024) };
}

interface Answering {
  readonly asked: readonly Asked[];
  readonly answers: Map<string, RenewalAnswer>;
  readonly mayIssue: (computerId: string) => boolean;
}

async function answerAll(deps: ReportRenewalsDeps, sql: Sql, { asked, answers, mayIssue }: Answering): Promise<void> {
  const { certificates, fleetClock } = deps;
  const now = fleetClock.trustedTime();
  const stored = await certificates.findByKeys(sql, asked.map(keyOf));
  const issued: NewCertificate[] = [];
  for (const one of asked) {
    const { computerId } = keyOf(one);
    const known = knownOf(stored, one, now);
    const fresh = known || !mayIssue(computerId) ? undefined : issue(deps, one, now);
    if (fresh) issued.push(fresh);
    answers.set(computerId, answerOf(deps, known ?? fresh));
  }
  await certificates.insertAll(sql, issued);
}

function keyOf({ report, csr }: Asked) {
  return { computerId: report.exchange.identity.computerId, keyDigest: csr.keyDigest };
}

function knownOf(stored: readonly StoredCertificate[], asked: Asked, now: number): StoredCertificate | undefined {
  const { computerId, keyDigest } = keyOf(asked);
  return stored.findLast(
    (one) => one.computerId === computerId && one.keyDigest === keyDigest && isStillGood(one, now),
  );
}

/** An authority that cannot issue is the operator's trouble; heartbeats go on. */
function issue(
  { authority, log }: ReportRenewalsDeps,
  { report, csr }: Asked,
  now: number,
): NewCertificate | undefined {
  const { computerId, serial: renews } = report.exchange.identity;
  const { spkiDer, keyDigest } = csr;
  try {
    const lifetimeDays = report.settings.certificateDays.lifetime;
    const issued = authority.issueComputer({ computerId, spkiDer, lifetimeDays });
    return { ...issued, computerId, keyDigest, issuedAt: now, renews };
  } catch (error) {
    log.error({ err: error, computerId }, 'The authority cannot renew a certificate');
    return undefined;
  }
}

function answerOf(
  { authority: { intermediatePem, rootPem } }: ReportRenewalsDeps,
  certificate: { readonly pem: string } | undefined,
): RenewalAnswer {
  if (certificate) return { renewed: { certificate: certificate.pem, chain: [intermediatePem, rootPem] } };
  const detail = 'No certificate can be issued at this moment: ask again later.';
  return { renewalRefused: { code: 'unavailable', detail } };
}
