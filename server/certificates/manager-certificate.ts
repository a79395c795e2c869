import type { CertificateAuthority } from '../../certs/certificate-authority.js';
import type { ManagerIdentity } from '../../certs/manager-identity.js';
import { ExpectedFailure } from '../../lib/expected-failure.js';
import { toRfc3339 } from '../../lib/clock.js';
import type { Log } from '../../lib/log.js';
import type { AlertWriter } from '../alerts/alert.js';
import type { HotTransaction } from '../database/hot-transaction.js';
import type { FleetClock } from '../fleet-clock/fleet-clock.js';

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
/** With less life than this a manager does not start: it would be refused by every agent within a day. */
export const SHORTEST_START_MS = DAY_MS;
/** With less it starts, and warns. */
export const WARNED_FROM_MS = 30 * DAY_MS;

/** A certificate that the manager needs: its own, or one that it issues by. */
export interface OwnCertificate {
  /** `manager`, `intermediate`, `root` or `admin`. */
  readonly name: string;
  /** Unix milliseconds. */
  readonly notAfter: number;
}

export interface ManagerCertificateDeps {
  readonly node: string;
  readonly identity: ManagerIdentity;
  /** Opens the stored key and leaf, or makes new ones where it is time. */
  readonly reopen: () => Promise<ManagerIdentity>;
  /** The others: of the authority, and of the admin port where it has one of the operator's. */
  readonly others: () => readonly OwnCertificate[];
  /** Shows another key and leaf from the next connection on. */
  readonly renew: (identity: ManagerIdentity) => void;
  /** Has the admin port show what belongs there now: this one, or what the operator put in the place of his own. */
  readonly showAdmin: (identity: ManagerIdentity) => void;
  readonly alerts: Pick<AlertWriter, 'raise' | 'resolve'>;
  readonly inTransaction: HotTransaction;
  readonly fleetClock: Pick<FleetClock, 'trustedTime' | 'fleet'>;
  readonly log: Log;
}

/** Keeps the manager's own certificate in date while it runs, and tells of those that it cannot renew itself. */
export interface ManagerCertificate {
  /** To be called every few minutes. */
  look(): Promise<void>;
  /** All that the manager needs. */
  certificates(): readonly OwnCertificate[];
}

export function createManagerCertificate(deps: ManagerCertificateDeps): ManagerCertificate {
  let { identity } = deps;
  let told: string | undefined;
  const certificates = (): OwnCertificate[] => [{ name: 'manager', notAfter: identity.notAfter }, ...deps.others()];
  const renew = async (): Promise<void> => {
    const next = await deps.reopen();
    if (next.certPem === identity.certPem) return;
    identity = next;
    deps.renew(next);
    deps.log.info({ notAfter: toRfc3339(next.notAfter) }, "The manager's certificate was renewed");
  };
  const tell = async (): Promise<void> => {
    const now = deps.fleetClock.trustedTime();
    const ending = certificates().filter(({ notAfter }) => notAfter - now < WARNED_FROM_MS);
    const state = JSON.stringify(ending);
    if (state === told) return;
    await store(deps, ending);
    told = state;
  };
  return {
    certificates,
    async look() {
      const failures: unknown[] = [];
      // What cannot be renewed is what has to be told.
      for (const step of [renew, async () => deps.showAdmin(identity), tell])
        await step().catch((error: unknown) => failures.push(error));
      if (failures.length > 0) throw failures[0];
    },
  };
}

/** Of the authority; each ends at least as late as what it has issued. */
export function authorityCertificates({
  root,
  intermediate,
}: Pick<CertificateAuthority, 'root' | 'intermediate'>): OwnCertificate[] {
  return [
    { name: 'intermediate', notAfter: Date.parse(intermediate.validTo) },
    { name: 'root', notAfter: Date.parse(root.validTo) },
  ];
}

/** One alert per node, for whichever ends first. */
async function store(
  { node, alerts, inTransaction, fleetClock }: ManagerCertificateDeps,
  ending: readonly OwnCertificate[],
): Promise<void> {
  const type = 'certificate-expiring';
  const subject = `manager/${node}`;
  const [first] = ending.toSorted((a, b) => a.notAfter - b.notAfter);
  const at = Math.floor(fleetClock.fleet());
  await inTransaction(async (sql) => {
    if (!first) return alerts.resolve(sql, type, [{ subject, at }]);
    const { name, notAfter } = first;
    const detail = { node, certificate: name, notAfter: toRfc3339(notAfter) };
    const condition = { type, subject, computerId: null, raisedAt: at, reason: 'certificate-expiring', detail };
    return alerts.raise(sql, [condition]);
  });
}

/** Throws ExpectedFailure where a certificate that the manager serves with is about to end, unless that is allowed. */
export function assertEnoughLife(
  certificates: readonly OwnCertificate[],
  { now, isForced, log }: { readonly now: number; readonly isForced: boolean; readonly log: Log },
): void {
  for (const { name, notAfter } of certificates) {
    const leftMs = notAfter - now;
    const facts = { certificate: name, notAfter: toRfc3339(notAfter) };
    if (leftMs >= WARNED_FROM_MS) continue;
    if (leftMs < SHORTEST_START_MS && !isForced)
      throw new ExpectedFailure(
        `The ${name} certificate ends at ${facts.notAfter}, in less than 24 hours: replace it, or start with ` +
          'WARDBEAT_ALLOW_EXPIRING_CERTIFICATE=true.',
      );
    log.warn(facts, 'A certificate of the manager is about to end');
  }
}
