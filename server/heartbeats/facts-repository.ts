import type { Sql } from '../database/sql.js';
import type { FleetInstant } from '../fleet-clock/fleet-clock.js';
import type { Exchange } from './exchange.js';
import { bringsConnection } from './state-digest.js';

/** What a report whose state is new is compared with. */
export interface StoredState {
  readonly factsDigest: string | null;
  /** The settings that the agent had reverted when its state was stored last. */
  readonly reverted: string | null;
}

/** Facts and what else rarely changes; apart from the hot row. */
export interface FactsRepository {
  /** By computer id. */
  readStates(sql: Sql, computerIds: readonly string[]): Promise<ReadonlyMap<string, StoredState>>;
  /**
   * Stores what the reports tell; facts only of those that carry them, and the connection only of those that bring one.
   */
  store(sql: Sql, exchanges: readonly Exchange[]): Promise<void>;
  /** Where a computer enrolled from: the first address at which it may be dialled. */
  storeEnrollment(sql: Sql, enrollment: EnrollmentFacts): Promise<void>;
}

export interface EnrollmentFacts {
  readonly computerId: string;
  readonly agentVersion: string;
  readonly platform: string;
  readonly protocolVersion: number;
  readonly address: string | null;
  readonly at: FleetInstant;
}

const READ = `
SELECT computer_facts.computer_id, computer_facts.facts_digest,
  CASE WHEN computer_contacts.candidate_state = 'reverted' THEN computer_contacts.candidate_fingerprint END AS reverted
FROM computer_facts
LEFT JOIN computer_contacts ON computer_contacts.computer_id = computer_facts.computer_id
WHERE computer_facts.computer_id = ANY($1::uuid[]) ORDER BY computer_facts.computer_id`;

const STORE = `
INSERT INTO computer_facts (computer_id, facts_digest, facts, agent_version, platform, protocol_version, capabilities,
  observed_address, carrier, tls_version, tls_cipher, last_transport_error, proxy_in_use, updated_fleet_ms)
SELECT input.computer_id, input.facts_digest, coalesce(input.facts::jsonb, '{}'), input.agent_version, input.platform,
  input.protocol_version, ARRAY(SELECT jsonb_array_elements_text(input.capabilities::jsonb)),
  input.observed_address, input.carrier, input.tls_version, input.tls_cipher, input.last_transport_error::jsonb,
  input.proxy_in_use, input.updated_fleet_ms
FROM unnest($1::uuid[], $2::bytea[], $3::text[], $4::text[], $5::text[], $6::integer[], $7::text[], $8::text[],
  $9::text[], $10::text[], $11::text[], $12::text[], $13::text[], $14::bigint[])
  AS input (computer_id, facts_digest, facts, agent_version, platform, protocol_version, capabilities,
    observed_address, carrier, tls_version, tls_cipher, last_transport_error, proxy_in_use, updated_fleet_ms)
ORDER BY input.computer_id
ON CONFLICT (computer_id) DO UPDATE SET
  facts_digest = coalesce(EXCLUDED.facts_digest, computer_facts.facts_digest),
  facts = CASE WHEN EXCLUDED.facts_digest IS NULL THEN computer_facts.facts ELSE EXCLUDED.facts END,
  agent_version = EXCLUDED.agent_version, platform = EXCLUDED.platform,
  protocol_version = EXCLUDED.protocol_version, capabilities = EXCLUDED.capabilities,
  observed_address = coalesce(EXCLUDED.observed_address, computer_facts.observed_address),
  carrier = CASE WHEN EXCLUDED.observed_address IS NULL THEN computer_facts.carrier ELSE EXCLUDED.carrier END,
  tls_version = coalesce(EXCLUDED.tls_version, computer_facts.tls_version),
  tls_cipher = coalesce(EXCLUDED.tls_cipher, computer_facts.tls_cipher), last_transport_error = EXCLUDED.last_transport_error,
  proxy_in_use = EXCLUDED.proxy_in_use, updated_fleet_ms = EXCLUDED.updated_fleet_ms`;

/** Before the first report there are no facts: their digest stays null, so that the agent is asked for them. */
const STORE_ENROLLMENT = `
INSERT INTO computer_facts (computer_id, facts, agent_version, platform, protocol_version, capabilities,
  observed_address, carrier, updated_fleet_ms)
VALUES ($1, '{}', $2, $3, $4, '{}', $5, 'https', $6)
ON CONFLICT (computer_id) DO UPDATE SET
  agent_version = EXCLUDED.agent_version, platform = EXCLUDED.platform, protocol_version = EXCLUDED.protocol_version,
  observed_address = EXCLUDED.observed_address, carrier = EXCLUDED.carrier,
  updated_fleet_ms = EXCLUDED.updated_fleet_ms`;

/** How a report came, by who opened its connection. */
const CARRIERS = { agent: 'https', manager: 'listener' } as const;

interface StateRow {
  readonly computer_id: string;
  readonly facts_digest: Buffer | null;
  readonly reverted: Buffer | null;
}

export function createFactsRepository(): FactsRepository {
  return {
    async readStates(sql, computerIds) {
      const rows = await sql.query<StateRow>(READ, [computerIds]);
      return new Map(
        rows.map(({ computer_id: computerId, facts_digest: digest, reverted }) => [
          computerId,
          { factsDigest: digest?.toString('hex') ?? null, reverted: reverted?.toString('hex') ?? null },
        ]),
      );
    },
    async store(sql, exchanges) {
      if (exchanges.length > 0) await sql.query(STORE, columnsOf(exchanges));
    },
    async storeEnrollment(sql, { computerId, agentVersion, platform, protocolVersion, address, at }) {
      await sql.query(STORE_ENROLLMENT, [computerId, agentVersion, platform, protocolVersion, address, Math.floor(at)]);
    },
  };
}

function columnsOf(exchanges: readonly Exchange[]): unknown[] {
  const reports = exchanges.map(({ report }) => report);
  return [
    exchanges.map(({ identity }) => identity.computerId),
    reports.map(({ facts, factsDigest }) => (facts === undefined ? null : Buffer.from(factsDigest, 'hex'))),
    reports.map(({ facts }) => (facts === undefined ? null : JSON.stringify(facts))),
    reports.map(({ agentVersion }) => agentVersion),
    reports.map(({ platform }) => platform),
    reports.map(({ protocolVersion }) => protocolVersion),
    reports.map(({ capabilities }) => JSON.stringify(capabilities)),
    exchanges.map((exchange) => (bringsConnection(exchange) ? exchange.address : null)),
    exchanges.map(({ dialledBy }) => CARRIERS[dialledBy]),
    exchanges.map((exchange) => (bringsConnection(exchange) ? exchange.tls.version : null)),
    exchanges.map((exchange) => (bringsConnection(exchange) ? exchange.tls.cipher : null)),
    reports.map(({ lastTransportError }) => (lastTransportError ? JSON.stringify(lastTransportError) : null)),
    reports.map(({ proxy }) => proxy ?? null),
    exchanges.map(({ receivedAt }) => Math.floor(receivedAt)),
  ];
}
