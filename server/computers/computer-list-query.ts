import { Conditions } from '../access/conditions.js';
import type { Scope } from '../access/scope.js';
import { containing, keysetOf, type ListOrder, type PageRequest, type RowKey } from '../admin-api/page.js';
import type { SpoolReport } from '../../protocol/heartbeat-messages.js';
import type { Sql } from '../database/sql.js';
import { DIAL_ANSWERED } from '../dials/dial-requests.js';
import { LIVENESS_COLUMNS, LIVENESS_TABLES, type LivenessRow } from '../statuses/liveness-row.js';
import { parsePackageFilter, type PackageFilter } from '../telemetry/index.js';
import { parseLabelFilter, type LabelFilter } from './computer-rules.js';
import type { Labels } from './computer.js';

/** Every key is indexed together with the id, but for the policy's name: policies are walked by name. */
export const COMPUTER_ORDER: ListOrder = {
  list: 'computers',
  keys: {
    name: { column: 'computers.name', type: 'text' },
    statusSince: { column: 'computer_status.since_fleet_ms', type: 'integer' },
    enrolledAt: { column: 'computers.enrolled_fleet_ms', type: 'integer', nullable: true },
    policy: { column: 'policies.name', type: 'text' },
  },
  default: 'name',
  id: 'computers.id',
};

export interface ComputerFilters {
  readonly statuses: readonly string[];
  /** A subtree. */
  readonly policyId: string | undefined;
  /** All of them must hold. */
  readonly labels: readonly LabelFilter[];
  /** All of them must be installed. */
  readonly packages?: readonly PackageFilter[];
  /** A part of the name, whatever its case. */
  readonly q: string | undefined;
  /** All of them must be set; none unless given. */
  readonly flags?: readonly string[];
}

/** The filters as they are asked for, by a query or in a body. */
export interface AskedFilters {
  readonly status?: readonly string[];
  readonly flag?: readonly string[];
  readonly policyId?: string;
  readonly label?: readonly string[];
  readonly package?: readonly string[];
  readonly q?: string;
}

export function parseFilters(asked: AskedFilters): ComputerFilters {
  const { status = [], flag = [], policyId, label = [], package: packages = [], q } = asked;
  const [labels, wanted] = [label.map(parseLabelFilter), packages.map(parsePackageFilter)];
  return { statuses: status, flags: flag, policyId, labels, packages: wanted, q };
}

/** What the overview of one computer is made from. */
export interface OverviewRow extends LivenessRow {
  readonly name: string;
  readonly address: string | null;
  readonly labels: Labels;
  readonly revision: number;
  readonly power_source: string | null;
  readonly enrolled_fleet_ms: number | null;
  readonly policy_name: string;
  readonly flags: readonly string[];
  readonly applied_fingerprint: Buffer | null;
  readonly clock_offset_ms: number | null;
  readonly seen_by_agent_fleet_ms: number | null;
  readonly seen_by_dial_fleet_ms: number | null;
  readonly listener_state: 'closed' | 'listening' | 'failed' | null;
  readonly collection: 'running' | 'stopped' | null;
  readonly candidate_fingerprint: Buffer | null;
  readonly candidate_state: 'proving' | 'reverted' | null;
  readonly last_dial_begun_fleet_ms: number | null;
  readonly last_dial_ended_fleet_ms: number | null;
  readonly last_dial_result: string | null;
  /** Of the last probe, if it was answered. */
  readonly probed_fleet_ms: number | null;
  readonly channel_state: 'open' | 'closed' | null;
  readonly channel_since_fleet_ms: number | null;
  readonly channel_reason: string | null;
  readonly channel_generation: number | null;
  readonly holder_generation: number | null;
  readonly holder_listened_fleet_ms: number | null;
  readonly observed_address: string | null;
  readonly proxy_in_use: string | null;
  readonly agent_version: string | null;
  readonly platform: string | null;
}

const COLUMNS = `${LIVENESS_COLUMNS}, computers.name, computers.address, computers.labels, computers.revision,
  computers.power_source, computers.enrolled_fleet_ms, policies.name AS policy_name, computer_status.flags,
  computer_live.applied_fingerprint, computer_live.clock_offset_ms,
  computer_live.seen_by_agent_fleet_ms, computer_live.seen_by_dial_fleet_ms, computer_contacts.listener_state,
  computer_contacts.collection, computer_contacts.candidate_fingerprint, computer_contacts.candidate_state,
  last_dial.last_begun_fleet_ms AS last_dial_begun_fleet_ms, last_dial.last_ended_fleet_ms AS last_dial_ended_fleet_ms,
  last_dial.last_result AS last_dial_result, answered_probe.ended_fleet_ms AS probed_fleet_ms,
  channels.state AS channel_state, channels.since_fleet_ms AS channel_since_fleet_ms,
  channels.reason AS channel_reason, channels.generation AS channel_generation,
  holder.generation AS holder_generation, holder.listened_until_fleet_ms AS holder_listened_fleet_ms,
  computer_facts.observed_address, computer_facts.proxy_in_use, computer_facts.agent_version, computer_facts.platform`;

const TABLES = `${LIVENESS_TABLES}
  JOIN policies ON policies.id = computers.policy_id
  LEFT JOIN computer_facts ON computer_facts.computer_id = computers.id
  LEFT JOIN computer_dials AS last_dial ON last_dial.computer_id = computers.id
  LEFT JOIN computer_probes AS answered_probe
    ON answered_probe.computer_id = computers.id AND answered_probe.result = '${DIAL_ANSWERED}'
  LEFT JOIN channels ON channels.computer_id = computers.id
  LEFT JOIN listeners AS holder ON holder.node = channels.listener`;

/** Up to `limit + 1` rows of a page. */
export async function listComputerRows(
  sql: Sql,
  scope: Scope,
  asked: { readonly page: PageRequest; readonly filters: ComputerFilters },
): Promise<OverviewRow[]> {
  const page = indexedPage(asked.page);
  const where = computerConditions(scope, asked.filters);
  const keyset = keysetOf(page, where.next);
  where.add(keyset.condition, ...keyset.parameters);
  const limit = `$${where.next}`;
  const parameters = [...where.parameters, page.limit + 1];
  const condition = isByPolicy(page)
    ? `computers.id IN (${idsByPolicy(page, { where: where.toSql(), limit, firstOfKeyset: firstOf(keyset, where) })})`
    : where.toSql();
  return sql.query<OverviewRow>(
    `SELECT ${COLUMNS} FROM ${TABLES} WHERE ${condition} ORDER BY ${keyset.orderBy} LIMIT ${limit}`,
    parameters,
  );
}

function isByPolicy(page: PageRequest): boolean {
  return page.key === COMPUTER_ORDER.keys['policy'];
}

/** The number of the keyset's first parameter, which are the last that were added. */
function firstOf(keyset: { readonly parameters: readonly unknown[] }, where: Conditions): number {
  return where.next - keyset.parameters.length;
}

interface PolicyWalk {
  readonly where: string;
  readonly limit: string;
  /** The parameter that holds the policy's name of the page before. */
  readonly firstOfKeyset: number;
}

/** Walks the policies by name and takes a page of each from the index of its computers, until the page is full. */
function idsByPolicy(page: PageRequest, { where, limit, firstOfKeyset }: PolicyWalk): string {
  const direction = page.descending ? 'DESC' : 'ASC';
  const notBefore = page.after ? `policies.name ${page.descending ? '<=' : '>='} $${firstOfKeyset}::text` : 'TRUE';
  return `SELECT found.id FROM policies CROSS JOIN LATERAL (
      SELECT computers.id FROM computers JOIN computer_status ON computer_status.computer_id = computers.id
      WHERE computers.policy_id = policies.id AND ${where} ORDER BY computers.id ${direction} LIMIT ${limit}
    ) AS found WHERE ${notBefore} ORDER BY policies.name ${direction}, found.id ${direction} LIMIT ${limit}`;
}

/** The index of statuses holds the id of its own table. */
function indexedPage(page: PageRequest): PageRequest {
  const isByStatus = page.key === COMPUTER_ORDER.keys['statusSince'];
  return isByStatus ? { ...page, order: { ...page.order, id: 'computer_status.computer_id' } } : page;
}

export function computerRowKey(page: PageRequest): (row: OverviewRow) => RowKey {
  const name = page.sort.replace(/^-/, '');
  return (row) => {
    if (name === 'statusSince') return [Number(row.since_fleet_ms), row.computer_id];
    if (name === 'enrolledAt') return [row.enrolled_fleet_ms, row.computer_id];
    return [name === 'policy' ? row.policy_name : row.name, row.computer_id];
  };
}

export async function findComputerRow(sql: Sql, scope: Scope, computerId: string): Promise<OverviewRow | undefined> {
  const visible = scope.predicate('computers.policy_id', 2);
  const [row] = await sql.query<OverviewRow>(
    `SELECT ${COLUMNS} FROM ${TABLES} WHERE computers.id = $1 AND ${visible.sql}`,
    [computerId, ...visible.parameters],
  );
  return row;
}

/** Over `computers` and, where statuses or flags are asked for, `computer_status`. */
export function computerConditions(scope: Scope, filters: ComputerFilters): Conditions {
  const { statuses, policyId, labels, packages = [], q, flags = [] } = filters;
  const where = new Conditions();
  where.addScope('computers.policy_id', scope);
  if (statuses.length > 0) where.add(`computer_status.status = ANY($${where.next}::text[])`, statuses);
  if (policyId !== undefined) where.addSubtree('computers.policy_id', { scope, policyId });
  for (const label of labels) addLabel(where, label);
  for (const wanted of packages) addPackage(where, wanted);
  // The condition of the index.
  if (flags.length > 0)
    where.add(`computer_status.flags <> '{}' AND computer_status.flags @> $${where.next}::text[]`, flags);
  if (q !== undefined) where.add(`computers.name ILIKE $${where.next} ESCAPE '\\'`, containing(q));
  return where;
}

function addLabel(where: Conditions, { key, value }: LabelFilter): void {
  if (value === undefined) where.add(`jsonb_exists(computers.labels, $${where.next})`, key);
  else where.add(`computers.labels @> $${where.next}::jsonb`, JSON.stringify({ [key]: value }));
}

function addPackage(where: Conditions, { name, version }: PackageFilter): void {
  const parameter = where.next;
  const ofVersion = version === undefined ? '' : ` AND computer_packages.version = $${parameter + 1}`;
  where.add(
    `EXISTS (SELECT FROM computer_packages WHERE computer_packages.computer_id = computers.id
       AND computer_packages.name = $${parameter}${ofVersion})`,
    ...(version === undefined ? [name] : [name, version]),
  );
}

export interface ComputerDetailRow {
  readonly counters: unknown;
  readonly spool: SpoolReport | null;
  readonly agent_time_ms: number | null;
  /** Null before the first report. */
  readonly facts: unknown;
  readonly contacts: ContactsRow | null;
  readonly tls_version: string | null;
  readonly tls_cipher: string | null;
  readonly serial: string | null;
  readonly not_before: Date | null;
  readonly not_after: Date | null;
  readonly components: readonly ComponentRow[] | null;
}

/** A row of `computer_contacts` as JSON. */
export interface ContactsRow {
  readonly direction_since_fleet_ms: number | null;
  readonly listener_state: string | null;
  readonly listener_port: number | null;
  readonly listener_detail: string | null;
  readonly candidate_fingerprint: string | null;
  readonly candidate_direction: string | null;
  readonly candidate_state: string | null;
  readonly candidate_port: number | null;
  readonly candidate_reason: string | null;
  readonly candidate_detail: string | null;
  readonly candidate_since_fleet_ms: number | null;
}

export interface ComponentRow {
  readonly name: string;
  readonly kind: string;
  readonly state: string;
  readonly since: number;
  readonly detail: string | null;
}

/** What only the single view shows; the certificate is the newest one that counts, else the newest. */
export async function readComputerDetail(sql: Sql, computerId: string): Promise<ComputerDetailRow | undefined> {
  const [row] = await sql.query<ComputerDetailRow>(
    `SELECT heartbeat_rings.counters, heartbeat_rings.spool, heartbeat_rings.agent_time_ms, computer_facts.tls_version,
       CASE WHEN computer_facts.facts_digest IS NOT NULL THEN computer_facts.facts END AS facts,
       CASE WHEN computer_contacts.computer_id IS NOT NULL THEN to_jsonb(computer_contacts) || jsonb_build_object(
         'candidate_fingerprint', encode(computer_contacts.candidate_fingerprint, 'hex')) END AS contacts,
       computer_facts.tls_cipher, newest.serial, newest.not_before, newest.not_after, parts.components
     FROM (SELECT $1::uuid AS id) AS asked
     LEFT JOIN heartbeat_rings ON heartbeat_rings.computer_id = asked.id
     LEFT JOIN computer_facts ON computer_facts.computer_id = asked.id
     LEFT JOIN computer_contacts ON computer_contacts.computer_id = asked.id
     LEFT JOIN LATERAL (
       SELECT certificates.serial, certificates.not_before, certificates.not_after FROM certificates
       WHERE certificates.computer_id = asked.id
       ORDER BY certificates.revoked_at IS NULL DESC, certificates.issued_at DESC, certificates.serial LIMIT 1
     ) AS newest ON TRUE
     LEFT JOIN LATERAL (
       SELECT jsonb_agg(jsonb_build_object('name', computer_components.name, 'kind', computer_components.kind,
         'state', computer_components.state, 'since', computer_components.since_fleet_ms,
         'detail', computer_components.detail) ORDER BY computer_components.kind, computer_components.name) AS components
       FROM computer_components WHERE computer_components.computer_id = asked.id
     ) AS parts ON TRUE`,
    [computerId],
  );
  return row;
}
