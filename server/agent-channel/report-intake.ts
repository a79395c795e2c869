import { hash } from 'node:crypto';
import type { Log } from '../../lib/log.js';
import { Problem } from '../../lib/problem.js';
import { isPlainObject, readBy, type Schema } from '../../lib/schema.js';
import { reportSchema, type Orders } from '../../protocol/heartbeat-messages.js';
import { NEWEST_PROTOCOL_VERSION, OLDEST_PROTOCOL_VERSION } from '../../protocol/protocol-version.js';
import type { FleetInstant } from '../fleet-clock/fleet-clock.js';
import type { Exchange } from '../heartbeats/exchange.js';
import type { IdentityMismatch } from '../heartbeats/identity-mismatch.js';
import type { PeerConnection } from './agent-server.js';
import type { PeerIdentity } from './peer-identity.js';
import type { PeerLimits } from './peer-limits.js';

export interface ReportIntakeDeps {
  readonly log: Log;
  readonly limits: Pick<PeerLimits, 'admitEvents' | 'pace'>;
  /** The fleet instant of a receipt. */
  readonly fleet: () => FleetInstant;
  /** This process's name in the listening ledger. */
  readonly listener: string;
  /** Answers after the report's effects are committed; throws a Problem. */
  readonly submit: (exchange: Exchange) => Promise<Orders>;
  /** Why a computer's reports are refused whatever they say; undefined where they are not. Asked for bad reports only. */
  readonly refusalOf: (identity: Exchange['identity']) => Promise<Problem | undefined>;
  readonly noteMismatch: (mismatch: IdentityMismatch) => Promise<void>;
}

/** A report as it arrived over a connection that the agent opened. */
export interface ArrivedReport {
  readonly connection: PeerConnection;
  readonly identity: PeerIdentity;
  /** Its exact bytes. */
  readonly body: Buffer;
  /** The same, parsed. */
  readonly value: unknown;
}

/** The reports of identified computers, whichever carrier brought them. */
export interface ReportIntake {
  /** Answers the orders once the report's effects are committed; throws a Problem. */
  take(arrived: ArrivedReport): Promise<Orders>;
  /** What a computer is told whose report failed so, before it was taken or after. */
  explain(identity: PeerIdentity, error: unknown): Promise<unknown>;
}

export function createReportIntake(deps: ReportIntakeDeps): ReportIntake {
  return {
    take: (arrived) => takeReport(deps, arrived),
    async explain(identity, error) {
      if (!(error instanceof Problem) || !ABOUT_THE_REPORT.has(error.code)) return error;
      return (await deps.refusalOf(identity)) ?? error;
    },
  };
}

/** Whoever is revoked or removed learns that, and nothing of what is wrong with its report. */
const ABOUT_THE_REPORT: ReadonlySet<string> = new Set([
  'request-invalid',
  'content-type-unsupported',
  'body-too-large',
  'protocol-version-unsupported',
]);

async function takeReport(deps: ReportIntakeDeps, arrived: ArrivedReport): Promise<Orders> {
  const { identity, connection, body, value } = arrived;
  const receivedAt = Math.floor(deps.fleet());
  const report = readMessage(reportSchema, value);
  if (report.computerId !== undefined && report.computerId !== identity.computerId)
    return refuseMismatch(deps, { connection, identity, claimedId: report.computerId, receivedAt });
  const { computerId, serial } = identity;
  deps.limits.admitEvents(computerId, report, body.length);
  const orders = await deps.submit({
    identity: { computerId, serial },
    receivedAt,
    listener: deps.listener,
    via: 'direct',
    dialledBy: 'agent',
    report,
    digest: hash('sha256', body, 'buffer'),
    address: connection.address,
    tls: connection.tls,
  });
  return deps.limits.pace(computerId, report, orders);
}

interface Mismatch {
  readonly connection: PeerConnection;
  readonly identity: PeerIdentity;
  readonly claimedId: string;
  readonly receivedAt: FleetInstant;
}

async function refuseMismatch(deps: ReportIntakeDeps, mismatch: Mismatch): Promise<never> {
  const { connection, identity, claimedId, receivedAt } = mismatch;
  const refusal = await deps.refusalOf(identity);
  if (refusal) throw refusal;
  const { computerId } = identity;
  const { address } = connection;
  deps.log.warn({ computerId, claimedId, address }, 'A report names another computer than its certificate');
  await deps.noteMismatch({ computerId, claimedId, address, receivedAt });
  throw new Problem('identity-mismatch', { detail: 'The body names another computer than the certificate proves.' });
}

/** The version is looked at before the rest: another version may have other members. */
export function readMessage<T>(schema: Schema<T>, value: unknown): T {
  const version = isPlainObject(value) ? value['protocolVersion'] : undefined;
  const isForeign = Number.isInteger(version) && !isSpoken(version as number);
  if (isForeign)
    throw new Problem('protocol-version-unsupported', {
      detail: `This manager speaks versions ${OLDEST_PROTOCOL_VERSION} to ${NEWEST_PROTOCOL_VERSION}.`,
      members: { oldest: OLDEST_PROTOCOL_VERSION, newest: NEWEST_PROTOCOL_VERSION },
    });
  return readBy(schema, value);
}

function isSpoken(version: number): boolean {
  return version >= OLDEST_PROTOCOL_VERSION && version <= NEWEST_PROTOCOL_VERSION;
}
