import type { CertificateAuthority } from '../../certs/certificate-authority.js';
import type { ManagerIdentity } from '../../certs/manager-identity.js';
import type { Log } from '../../lib/log.js';
import { createPatience } from '../../lib/processor-wait.js';
import { createBodyBudget } from '../../lib/body-reader.js';
import { createPeerVerifier } from '../agent-channel/peer-identity.js';
import type { PeerLimits } from '../agent-channel/peer-limits.js';
import type { HotTransaction } from '../database/hot-transaction.js';
import type { Sql } from '../database/sql.js';
import type { FleetClock } from '../fleet-clock/fleet-clock.js';
import type { LivenessHints } from '../heartbeats/liveness-hints.js';
import type { DeafSpan } from '../listening/listening.js';
import type { PolicySettingsCache } from '../policies/index.js';
import type { ConversationDeps } from './dial-conversation.js';
import { createDialGuard } from './dial-guard.js';
import { createPlanReader } from './dial-plan-query.js';
import { createDialRecorder } from './dial-recorder.js';
import { createDialShards } from './dial-shards.js';
import type { Lookup } from './name-resolver.js';
import { createNameResolver } from './name-resolver.js';
import {
  createDialTransport,
  type DialLimits,
  type DialTransportDeps,
  type ListenerTransport,
} from './dial-transport.js';
import { createDialWatch, notifyDials, type DialNotificationClient } from './dial-watch.js';
import { Dialler } from './dialler.js';
import type { Dials } from './dials.js';
import { createFarewells } from './farewells.js';
import { createProber } from './prober.js';

export interface DialsDeps extends Pick<ConversationDeps, 'submit' | 'upload' | 'noteMismatch'> {
  readonly authority: CertificateAuthority;
  readonly identity: ManagerIdentity;
  readonly renewLate?: DialTransportDeps['renewLate'];
  readonly fleetClock: FleetClock;
  readonly log: Log;
  /** Reads outside a transaction. */
  readonly sql: Sql;
  readonly inTransaction: HotTransaction;
  readonly connect: () => Promise<DialNotificationClient>;
  readonly settings: PolicySettingsCache;
  /** Shared with the agent port: a computer has one budget, whoever dials. */
  readonly limits: Pick<PeerLimits, 'admitEvents' | 'pace'>;
  readonly verdicts: Pick<LivenessHints, 'reconsider'>;
  readonly spans: () => readonly DeafSpan[];
  readonly isDeaf: () => boolean;
  /** The manager is about to go: nobody is dialled, and other processes may. */
  readonly isDraining?: () => boolean;
  /** This process's name in the listening ledger, and as the owner of shards. */
  readonly node: string;
  /** CIDRs; undefined: private ranges. */
  readonly allowedCidrs: readonly string[] | undefined;
  readonly limitsMs?: DialLimits;
  readonly lookup?: Lookup;
  /** Instead of TLS to the agents' listeners; the simulator's. */
  readonly transport?: ListenerTransport;
}

/** Answers that are held at once over all dials. */
const BODY_BYTES_HELD = 64 * 1024 * 1024;

/** The manager's side of the agents' listeners: who is dialled, when, where, and what is said. */
export function composeDials(deps: DialsDeps): Dials {
  const { fleetClock, log, sql, inTransaction, settings, isDraining } = deps;
  const isDeaf = (): boolean => deps.isDeaf() || (isDraining?.() ?? false);
  const transport = deps.transport ?? composeTransport(deps);
  const plans = createPlanReader({ sql, settings });
  const prober = createProber({ plans, transport });
  const dialler = new Dialler({
    fleetClock,
    log,
    sql,
    settings,
    spans: deps.spans,
    isDeaf,
    plans,
    shards: createDialShards({ owner: deps.node, inTransaction, isDraining }),
    recorder: createDialRecorder({ inTransaction, clock: fleetClock }),
    transport,
    verdicts: deps.verdicts,
  });
  const watch = createDialWatch({
    clock: fleetClock,
    log,
    connect: deps.connect,
    onRequest: (computerIds) => void dialler.ask(computerIds),
  });
  const farewells = createFarewells({ clock: fleetClock, log, sql, inTransaction, transport, isDeaf });
  return {
    metrics: dialler.metrics,
    heard: (hints) => dialler.heard(hints),
    reconsider: (computerIds) => void dialler.ask(computerIds),
    request(computerIds, why) {
      const elsewhere = dialler.ask(computerIds);
      notifyDials(sql, elsewhere).catch((error: unknown) =>
        log.debug({ err: error, why }, 'Other processes could not be asked to dial'),
      );
    },
    probe: (computerId) => prober.probe(computerId),
    renew: (identity) => transport.renew(identity),
    async start() {
      await watch.start();
      dialler.start();
      await farewells.start();
    },
    async stop() {
      await prober.stop();
      await watch.stop();
      await farewells.stop();
      await dialler.stop();
    },
  };
}

function composeTransport(deps: DialsDeps) {
  const { authority, fleetClock, log } = deps;
  const trustedNow = (): number => fleetClock.trustedTime();
  return createDialTransport({
    identity: deps.identity,
    renewLate: deps.renewLate,
    rootPem: authority.rootPem,
    verifier: createPeerVerifier({
      root: authority.root,
      intermediateDer: authority.intermediate.raw,
      trustDomain: authority.trustDomain,
      trustedNow,
    }),
    trustedNow,
    guard: createDialGuard(deps.allowedCidrs),
    resolve: createNameResolver(deps.lookup),
    bodies: createBodyBudget(BODY_BYTES_HELD),
    clock: fleetClock,
    patience: createPatience(() => fleetClock.monotonic()),
    fleet: () => fleetClock.fleet(),
    listener: deps.node,
    submit: deps.submit,
    upload: deps.upload,
    limits: deps.limits,
    noteMismatch: deps.noteMismatch,
    log,
    ...(deps.limitsMs ? { limitsMs: deps.limitsMs } : {}),
  });
}
