import { composeAlerts } from './alerts/compose-alerts.js';
import type { RouteDefinition } from './admin-api/route.js';
import { apiKeyDependents } from './api-keys/index.js';
import { certificateRoutes, type CertificateRoutesDeps } from './certificates/certificate-routes.js';
import { composeClocks } from './clocks/index.js';
import { composeComputers } from './computers/compose-computers.js';
import { computerDependents } from './computers/index.js';
import { commandRoutes } from './agent-commands/index.js';
import type { Core } from './compose-core.js';
import type { Edges } from './edges.js';
import { createTokenDependents } from './enrollment/token-dependents.js';
import { composeEnrollmentTokens } from './enrollment/token-routes.js';
import { createEnrollmentTokenService, type EnrollmentTokenService } from './enrollment/token-service.js';
import { composeDiagnosis } from './diagnosis/index.js';
import { notifyDials, type Prober } from './dials/index.js';
import { composeEventReading } from './events/compose-event-reading.js';
import { composeFirewall } from './firewall/index.js';
import { createCoveredDrift } from './heartbeats/covered-drift.js';
import type { LivenessHints } from './heartbeats/liveness-hints.js';
import { trustedClock } from './fleet-clock/trusted-clock.js';
import { latenessRoutes } from './heartbeats/lateness-routes.js';
import type { Config } from './config.js';
import type { Storage } from './open-storage.js';
import { maintenanceRoutes } from './maintenance/index.js';
import { operationRoutes } from './operations/index.js';
import { composePolicies } from './policies/index.js';
import { notificationRoutes, routingDependents } from './notifications/index.js';
import { composePreviews } from './previews/index.js';
import { composeReports } from './reports/index.js';
import { drainRoutes } from './system/drain-routes.js';
import { userDependents } from './users/index.js';
import { telemetryRoutes } from './telemetry/index.js';
import { systemRoutes, type SystemView } from './system/system-routes.js';

export interface RoutesDeps {
  readonly config: Pick<Config, 'node'>;
  readonly storage: Storage;
  readonly core: Core;
  readonly edges: Edges;
  readonly agentUrl: () => string;
  readonly prober: Pick<Prober, 'probe'>;
  readonly system: SystemView;
  /** What the manager itself needs of certificates. */
  readonly ownCertificates: CertificateRoutesDeps['own'];
}

export interface FeatureRoutes {
  readonly routes: readonly RouteDefinition[];
  readonly tokens: EnrollmentTokenService;
}

/** Every feature's routes of the admin API. */
export function composeRoutes(deps: RoutesDeps): FeatureRoutes {
  const { config, storage, core, edges, agentUrl, prober, system } = deps;
  const { fleetClock: clock, sql, inTransaction } = storage;
  const { random } = edges;
  const { audit, cache, statuses, alerts, certificates, ledger, maintenance } = core;
  const hints = toldEverywhere({ storage, core, edges });
  const shared = { sql, manager: storage.dataSource.manager, inTransaction, clock, random, audit, cache, hints };
  const tokenDependents = createTokenDependents({ clock: trustedClock(clock) });
  const dependents = [computerDependents, tokenDependents, routingDependents, userDependents, apiKeyDependents];
  const spans = () => ledger.spans();
  const computers = composeComputers({ ...shared, statuses, alerts, certificates, spans, maintenance });
  const tokenDeps = { ...shared, clock: trustedClock(clock), caFingerprint: core.authority.rootFingerprint, agentUrl };
  const policies = composePolicies({ ...shared, dependents });
  const covered = createCoveredDrift({ alerts, settings: cache, fleetClock: clock });
  const routes = [
    ...policies.routes,
    ...latenessRoutes({ sql, clock, assertPolicyVisible: policies.assertVisible }),
    ...computers.routes,
    ...commandRoutes({ ...shared, wake: (ids) => core.commands.wake(ids) }),
    ...composeFirewall({ ...shared, releaseCodes: core.releaseCodes }).routes,
    ...operationRoutes(shared),
    ...maintenanceRoutes({ ...shared, maintenance }),
    ...composeClocks(shared).routes,
    ...composeDiagnosis({ ...shared, spans, prober, maintenance }).routes,
    ...composePreviews({ ...shared, spans }).routes,
    ...composeReports({
      ...shared,
      spans,
      assertPolicyVisible: policies.assertVisible,
      assertComputerVisible: computers.assertVisible,
    }).routes,
    ...composeEventReading({ sql, clock, assertVisible: computers.assertVisible }).routes,
    ...telemetryRoutes({ sql, clock, assertVisible: computers.assertVisible }),
    ...certificateRoutes({ sql, trustedNow: () => clock.trustedTime(), own: deps.ownCertificates }),
    ...composeAlerts({ sql, inTransaction, fleetClock: clock, audit, covered, outbox: core.outbox }).routes,
    ...composeEnrollmentTokens(tokenDeps).routes,
    ...notificationRoutes(core.notifications),
    ...systemRoutes(system),
    ...drainRoutes({ drain: core.drain, view: system, inTransaction, audit, node: config.node }),
  ];
  return { routes, tokens: createEnrollmentTokenService(tokenDeps) };
}

/** An edit of one computer is told to the processes that dial it and hold its channel, which may be others. */
function toldEverywhere({ storage, core, edges }: Pick<RoutesDeps, 'storage' | 'core' | 'edges'>): LivenessHints {
  return {
    heard: (hints) => core.hints.heard(hints),
    reconsider(computerIds) {
      core.hints.reconsider(computerIds);
      core.channelWakes.wake(computerIds, 'standing');
      notifyDials(storage.sql, computerIds).catch((error: unknown) =>
        edges.log.debug({ err: error }, 'The dialling process could not be told of an edit'),
      );
    },
  };
}
