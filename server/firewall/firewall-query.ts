import type { IsolationPeer } from '../../policies/firewall-rules.js';
import type { Scope } from '../access/scope.js';
import type { Sql } from '../database/sql.js';
import type { FleetInstant } from '../fleet-clock/fleet-clock.js';

/** What is known of one computer's firewall, and what its settings are resolved from. */
export interface FirewallRow {
  readonly computer_id: string;
  readonly kind: 'agent' | 'appliance';
  readonly policy_id: string;
  readonly overrides: string | null;
  readonly direction: string | null;
  readonly listener_state: 'closed' | 'listening' | 'failed' | null;
  readonly listener_port: number | null;
  readonly firewall_state: 'applied' | 'failed' | 'unsupported' | null;
  readonly firewall_digest: Buffer | null;
  readonly firewall_detail: string | null;
  readonly isolated_by: string | null;
  readonly isolated_since_fleet_ms: FleetInstant | null;
  /** Of the command that isolated it, as is `isolation_args`; null where that is forgotten. */
  readonly isolated_by_name: string | null;
  readonly isolation_args: { readonly allow?: readonly IsolationPeer[] } | null;
}

/** A computer of the scope. */
export async function findFirewall(sql: Sql, scope: Scope, computerId: string): Promise<FirewallRow | undefined> {
  const visible = scope.predicate('computers.policy_id', 2);
  const [row] = await sql.query<FirewallRow>(
    `SELECT computers.id AS computer_id, computers.kind, computers.policy_id, computers.overrides::text AS overrides,
       computer_contacts.direction, computer_contacts.listener_state, computer_contacts.listener_port,
       computer_contacts.firewall_state, computer_contacts.firewall_digest, computer_contacts.firewall_detail,
       computer_contacts.isolated_by, computer_contacts.isolated_since_fleet_ms,
       commands.created_by AS isolated_by_name, commands.args AS isolation_args
     FROM computers
     LEFT JOIN computer_contacts ON computer_contacts.computer_id = computers.id
     LEFT JOIN commands ON commands.id = computer_contacts.isolated_by AND commands.computer_id = computers.id
     WHERE computers.id = $1 AND ${visible.sql}`,
    [computerId, ...visible.parameters],
  );
  return row;
}

/**
 * The command that isolates the computer, and whose code ends that. The agent's own word says which it is; one that cut it
 * off before it could say so counts too.
 */
export async function findIsolation(sql: Sql, computerId: string): Promise<string | undefined> {
  const [told] = await sql.query<{ readonly isolated_by: string }>(
    `SELECT computer_contacts.isolated_by FROM computer_contacts
     WHERE computer_contacts.computer_id = $1 AND computer_contacts.isolated_by IS NOT NULL`,
    [computerId],
  );
  return told?.isolated_by ?? findOpenIsolation(sql, computerId);
}

/**
 * The newest command to isolate that the agent may have carried out without having told of it: one that was given up too,
 * as long as the agent has not been heard since, for it may be cut off by the very isolation.
 */
async function findOpenIsolation(sql: Sql, computerId: string): Promise<string | undefined> {
  const [row] = await sql.query<{ readonly id: string }>(
    `SELECT commands.id FROM commands
     JOIN computer_live ON computer_live.computer_id = commands.computer_id
     WHERE commands.computer_id = $1 AND commands.type = 'isolate' AND commands.delivered_fleet_ms IS NOT NULL
       AND (commands.ended_fleet_ms IS NULL OR (commands.state IN ('expired', 'cancelled')
         AND computer_live.last_seen_fleet_ms < commands.ended_fleet_ms))
     ORDER BY commands.number DESC LIMIT 1`,
    [computerId],
  );
  return row?.id;
}
