import { rmSync, mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openAuthority, type CertificateAuthority } from '../../certs/certificate-authority.js';
import { openManagerIdentity } from '../../certs/manager-identity.js';
import { createBodyBudget } from '../../lib/body-reader.js';
import { createSystemClock } from '../../lib/clock.js';
import { createLog } from '../../lib/log.js';
import { createSystemRandom } from '../../lib/random.js';
import type { Orders } from '../../protocol/heartbeat-messages.js';
import { createPeerVerifier } from '../../server/agent-channel/peer-identity.js';
import { createPeerLimits } from '../../server/agent-channel/peer-limits.js';
import { createDialGuard } from '../../server/dials/dial-guard.js';
import type { DialTarget } from '../../server/dials/dial-target.js';
import { createPatience } from '../../lib/processor-wait.js';
import { createDialTransport, type DialOutcome } from '../../server/dials/dial-transport.js';
import { createNameResolver, type Lookup } from '../../server/dials/name-resolver.js';
import type { Exchange } from '../../server/heartbeats/exchange.js';
import type { IdentityMismatch } from '../../server/heartbeats/identity-mismatch.js';
import { issueIdentity, type ClientIdentity } from './agent-port.js';
import { startFakeListener, type FakeListener, type FakeListenerOptions } from './fake-agent-listener.js';

export const DIALLED_COMPUTER = '0c0ffee0-0000-4000-8000-000000000001';

export interface DialTry {
  readonly lookup?: Lookup;
  /** CIDRs; private ranges unless given. */
  readonly allowed?: readonly string[];
}

/** The manager's real transport of dials, with an authority of its own; what it would store is kept here. */
export interface DialTransportWorld {
  readonly dir: string;
  readonly authority: CertificateAuthority;
  readonly manager: ClientIdentity;
  readonly stored: Exchange[];
  readonly mismatches: IdentityMismatch[];
  dial(target: DialTarget, how?: DialTry): Promise<DialOutcome>;
  /** A fake agent of `DIALLED_COMPUTER` by default. */
  listen(options?: Partial<FakeListenerOptions>): Promise<FakeListener>;
  /** Closes every listener and forgets what was stored. */
  reset(): Promise<void>;
  end(): Promise<void>;
}

export async function createDialTransportWorld(): Promise<DialTransportWorld> {
  const dir = mkdtempSync(join(tmpdir(), 'wardbeat-dial-'));
  const clock = createSystemClock();
  const random = createSystemRandom();
  const log = createLog({ name: 'test', level: 'silent' });
  const authority = await openAuthority({ dir, trustDomain: 'test.wardbeat', clock, random });
  const identity = await openManagerIdentity({ dir, authority, node: 'n1', hosts: ['localhost'], clock });
  const trustedNow = () => clock.wall();
  const verifier = createPeerVerifier({
    root: authority.root,
    intermediateDer: authority.intermediate.raw,
    trustDomain: authority.trustDomain,
    trustedNow,
  });
  const [stored, mismatches, open]: [Exchange[], IdentityMismatch[], FakeListener[]] = [[], [], []];
  const transportOf = ({ lookup, allowed }: DialTry) =>
    createDialTransport({
      identity,
      rootPem: authority.rootPem,
      verifier,
      trustedNow,
      guard: createDialGuard(allowed),
      resolve: createNameResolver(lookup),
      bodies: createBodyBudget(8 * 1024 * 1024),
      clock,
      patience: createPatience(() => clock.monotonic()),
      fleet: trustedNow,
      listener: 'n1',
      submit: async (exchange) => {
        stored.push(exchange);
        return ordersFor(exchange);
      },
      limits: createPeerLimits({}, () => clock.monotonic()),
      upload: () => Promise.reject(new Error('No file is awaited')),
      noteMismatch: async (mismatch) => void mismatches.push(mismatch),
      log,
      limitsMs: { connectMs: 1000, totalMs: 2000 },
    });
  const reset = async () => {
    await Promise.all(open.splice(0).map((listener) => listener.close()));
    stored.length = 0;
    mismatches.length = 0;
  };
  return {
    dir,
    authority,
    manager: { cert: identity.certPem + identity.chainPem, key: identity.keyPem },
    stored,
    mismatches,
    dial: (target, how = {}) => transportOf(how).dial(DIALLED_COMPUTER, () => target, new AbortController().signal),
    async listen(options = {}) {
      const listener = await startFakeListener({
        identity: issueIdentity(authority, DIALLED_COMPUTER),
        computerId: DIALLED_COMPUTER,
        rootPem: authority.rootPem,
        now: trustedNow,
        ...options,
      });
      open.push(listener);
      return listener;
    },
    reset,
    async end() {
      await reset();
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

/** `answered`, `busy`, `own`, or the code of the failure. */
export function outcomeOf(outcome: DialOutcome): string {
  return outcome.kind === 'failed' ? outcome.failure.code : outcome.kind;
}

export function ordersFor({ report, identity }: Exchange): Orders {
  return {
    protocolVersion: 1,
    computerId: identity.computerId,
    reportId: report.reportId,
    effect: 'accepted',
    managerReceivedAt: 0,
    managerSentAt: 0,
    acknowledged: [],
    settings: null,
    settingsGeneration: { epoch: DIALLED_COMPUTER, counter: 1 },
    commands: [],
    nextContactInMs: 60_000,
    identityToken: '',
    eventQuota: { maxEventsPerReport: 1000, drain: false },
    fullReport: false,
  };
}
