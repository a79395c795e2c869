import { createAlertWriter } from '../../server/alerts/alert-writer.js';
import { createCertificateRepository } from '../../server/certificates/certificate-repository.js';
import { composeComputers, computerDependents } from '../../server/computers/index.js';
import { composeEventReading } from '../../server/events/compose-event-reading.js';
import { createTokenDependents } from '../../server/enrollment/token-dependents.js';
import { composeEnrollmentTokens } from '../../server/enrollment/token-routes.js';
import type { Page } from '../../server/admin-api/page.js';
import type { ComputerDetailDto } from '../../server/computers/computer-dto.js';
import type { LivenessHints } from '../../server/heartbeats/liveness-hints.js';
import type { PolicyDto } from '../../server/policies/policy-dto.js';
import { createMaintenanceView, maintenanceRoutes } from '../../server/maintenance/index.js';
import { composePreviews } from '../../server/previews/index.js';
import type { DeafSpan } from '../../server/listening/listening.js';
import { composeReports } from '../../server/reports/index.js';
import { composePolicies } from '../../server/policies/index.js';
import type { SettingsView } from '../../server/policies/policy-settings-service.js';
import { createStatusWriter } from '../../server/statuses/status-writer.js';
import type { TestDatabase } from './database.js';
import { callerOf, startForest, type Call } from './domain-world.js';

export const CA_FINGERPRINT = 'ab'.repeat(32);

/** Policies, computers, tokens and events as the composition root wires them, with what calls and prepares them. */
export async function startComputers(database: TestDatabase) {
  const forest = await startForest(database);
  const alerts = createAlertWriter({ random: forest.random });
  const statuses = createStatusWriter({ alerts, random: forest.random, fleetClock: forest.clock });
  const reconsidered: string[] = [];
  const hints: LivenessHints = {
    heard: () => undefined,
    reconsider: (computerIds) => void reconsidered.push(...computerIds),
  };
  let spans: readonly DeafSpan[] = [];
  const certificates = createCertificateRepository();
  const maintenance = createMaintenanceView(forest);
  const deps = { ...forest, maintenance, alerts, statuses, certificates, hints, spans: () => spans };
  const computers = composeComputers(deps);
  const { assertVisible } = computers;
  const dependents = [computerDependents, createTokenDependents(deps)];
  const policies = composePolicies({ ...deps, dependents });
  const routes = [
    ...computers.routes,
    ...maintenanceRoutes(deps),
    ...composePreviews(deps).routes,
    ...policies.routes,
    ...composeReports({
      ...deps,
      assertPolicyVisible: policies.assertVisible,
      assertComputerVisible: assertVisible,
    }).routes,
    ...composeEventReading({ ...deps, assertVisible }).routes,
    ...composeEnrollmentTokens({ ...deps, caFingerprint: CA_FINGERPRINT, agentUrl: () => 'https://manager:4120' })
      .routes,
  ];
  const call = callerOf(routes);
  const base = (await call<Page<PolicyDto>>('get', '/policies')).body.items[0]!;
  let names = 0;
  return {
    ...deps,
    reconsidered,
    /** What the listening ledger is to know from now on. */
    setSpans: (known: readonly DeafSpan[]) => void (spans = known),
    routes,
    call,
    base,
    async makePolicy(parentId: string | null, settings: object = {}): Promise<PolicyDto> {
      const name = `policy ${(names += 1)}`;
      return (await call<PolicyDto>('post', '/policies', { body: { name, parentId, settings } })).body;
    },
    async makeComputer(body: object = {}): Promise<ComputerDetailDto> {
      const given = { name: `computer ${(names += 1)}`, kind: 'agent', policyId: base.id, ...body };
      return (await call<ComputerDetailDto>('post', '/computers', { body: given })).body;
    },
    async read(id: string): Promise<ComputerDetailDto> {
      return (await call<ComputerDetailDto>('get', '/computers/:id', { params: { id } })).body;
    },
    async change(id: string, body: object): Promise<ComputerDetailDto> {
      const { revision } = (await call('get', '/computers/:id', { params: { id } })) as { revision: number };
      return (await call<ComputerDetailDto>('patch', '/computers/:id', { params: { id }, body, ifMatch: revision }))
        .body;
    },
    async patchSettings(id: string, body: object): Promise<SettingsView> {
      const path = '/computers/:id/settings';
      const { revision } = await call<SettingsView>('get', path, { params: { id } });
      return (await call<SettingsView>('patch', path, { params: { id }, body, ifMatch: revision })).body;
    },
    async list(query: object, extra: Call = {}) {
      return (await call<Page<ComputerDetailDto>>('get', '/computers', { ...extra, query })).body;
    },
    /** Makes the computer one that was heard at this instant and told to come again after its interval. */
    async hear(id: string, intervalMs = 60_000): Promise<void> {
      const at = forest.clock.fleet();
      await forest.sql.query(
        `UPDATE computer_live SET last_seen_fleet_ms = $2, contact_due_fleet_ms = $3, confirmed_interval_ms = $4
         WHERE computer_id = $1`,
        [id, at, at + intervalMs, intervalMs],
      );
      await forest.sql.query(
        `UPDATE computer_status SET status = 'online', reason = 'in-contact', since_fleet_ms = $2
         WHERE computer_id = $1`,
        [id, at],
      );
    },
  };
}

export type ComputerWorld = Awaited<ReturnType<typeof startComputers>>;
