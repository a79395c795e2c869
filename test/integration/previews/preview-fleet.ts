import fc from 'fast-check';
import type { PolicyNode } from '../../../policies/resolve-settings.js';
import { GOODBYE_REASONS, POWER_STATES, type GoodbyeReason, type PowerState } from '../../../policies/status-model.js';
import type { ForestWorld } from '../../support/domain-world.js';
import { computer as computerNode, forest, overrides } from '../../unit/policies/forest-arbitrary.js';

export interface Computer {
  readonly policy: number;
  readonly kind: 'agent' | 'appliance';
  readonly overrides: object;
  readonly status: 'pending' | 'online' | 'revoked';
  readonly back: number;
  readonly edge: number;
  readonly toDue: number | null;
  readonly confirmed: number | null;
  readonly delivered: number | null;
  readonly goodbye: { readonly reason: GoodbyeReason; readonly after: number; readonly expected: number | null } | null;
  readonly power: { readonly state: PowerState; readonly after: number; readonly expires: number | null } | null;
  /** Receipts after the last one; the listener's state where any was told, and whether the last dial was answered. */
  readonly ways: {
    readonly byAgent: number | null;
    readonly byDial: number | null;
    readonly listener: 'closed' | 'listening' | 'failed' | null;
    readonly isAnswered: boolean;
    /** The last probe: its end after the last receipt. */
    readonly probe: { readonly after: number; readonly result: string } | null;
  };
  /** Failed dials as (begin after the last receipt, duration); null for a computer that was never dialled. */
  readonly dials: { readonly isDialled: boolean; readonly failed: readonly (readonly [number, number])[] } | null;
}

const offset = fc.constantFrom(-1, 0, 1, 20_000, 2_000_000);
const intervalMs = fc.option(fc.constantFrom(30_000, 60_000, 600_000));
const goodbye = fc.record({
  reason: fc.constantFrom(...GOODBYE_REASONS),
  after: offset,
  expected: fc.option(fc.constantFrom(0, 100_000, 900_000)),
});
const power = fc.record({
  state: fc.constantFrom(...POWER_STATES),
  after: offset,
  expires: fc.option(fc.constantFrom(1, 50_000, 3_000_000)),
});
const dials = fc.record({
  isDialled: fc.constantFrom(true, true, true, false),
  failed: fc.array(fc.tuple(fc.constantFrom(0, 29_999, 30_000, 60_000, 120_000, 600_000, 2_000_000), fc.nat(10_000)), {
    maxLength: 4,
  }),
});
const receipt = fc.option(fc.constantFrom(-1, 0, 30_000, 2_000_000), { freq: 2 });
const ways = fc.record({
  byAgent: receipt,
  byDial: receipt,
  listener: fc.option(fc.constantFrom('closed', 'listening', 'listening', 'failed')),
  isAnswered: fc.boolean(),
  probe: fc.option(
    fc.record({ after: fc.constantFrom(-1, 30_000, 2_000_000), result: fc.constantFrom('answered', 'refused') }),
    { freq: 2 },
  ),
});
const fleetComputer: fc.Arbitrary<Computer> = fc.record({
  policy: fc.nat(5),
  kind: computerNode.map(({ kind }) => kind),
  overrides: fc.oneof({ weight: 2, arbitrary: fc.constant({}) }, { weight: 1, arbitrary: overrides }),
  status: fc.constantFrom('online', 'online', 'online', 'online', 'pending', 'revoked'),
  back: fc.oneof(fc.nat(200_000), fc.nat(4_000_000)),
  edge: fc.nat(12),
  toDue: fc.option(fc.integer({ min: -1000, max: 700_000 })),
  confirmed: intervalMs,
  delivered: intervalMs,
  goodbye: fc.option(goodbye, { freq: 3 }),
  power: fc.option(power, { freq: 3 }),
  ways,
  dials: fc.option(dials, { freq: 2 }),
});

const edit = fc.record({
  policy: fc.nat(5),
  settings: fc.option(
    fc.tuple(overrides, overrides).map(([set, unset]) => ({
      ...Object.fromEntries(Object.keys(unset).map((key) => [key, null])),
      ...set,
    })),
    { freq: 8, nil: undefined },
  ),
  parent: fc.option(fc.nat(6), { freq: 2, nil: undefined }),
});

/** A forest, a fleet below it, deaf times before now as (gap, length) in seconds, and an edit. */
export const situation = fc.record({
  shape: forest(6),
  fleet: fc.array(fleetComputer, { minLength: 1, maxLength: 25 }),
  deaf: fc.array(fc.tuple(fc.constantFrom(2, 5, 30, 70, 900), fc.constantFrom(1, 5, 60, 300)), { maxLength: 7 }),
  edit,
});
export type Situation = typeof situation extends fc.Arbitrary<infer T> ? T : never;

/** A computer with the instants that its row holds. */
export interface Row {
  readonly id: string;
  readonly given: Computer;
  readonly lastSeenAt: number;
  readonly contactDueAt: number | null;
}

export interface Fleet {
  readonly nodes: readonly PolicyNode[];
  readonly spans: readonly { readonly from: number; readonly until: number }[];
  readonly rows: readonly Row[];
}

/** Spread over all ids, as random ones are. */
function idOf(prefix: number, index: number): string {
  const first = ((index * 67) % 256).toString(16).padStart(2, '0');
  return `${first}000000-0000-4000-8000-${String(prefix * 1_000_000 + index).padStart(12, '0')}`;
}

/** The situation with ids and instants; receipts lie anywhere, and at, just before and just after ends of spans. */
export function fleetAt(at: number, { shape, fleet, deaf }: Situation): Fleet {
  const nodes = shape.map((node, index) => ({
    ...node,
    id: idOf(1, index),
    parentId: node.parentId === null ? null : idOf(1, Number(node.parentId.slice(1))),
  }));
  let until = at;
  const spans = deaf.map(([gap, length]) => {
    const span = { from: until - (gap + length) * 1000, until: until - gap * 1000 };
    until = span.from;
    return span;
  });
  spans.reverse();
  const rows = fleet.map((given, index): Row => {
    const edge = spans[given.edge]?.until;
    const lastSeenAt = edge === undefined ? at - given.back : edge + (given.back % 5) - 2;
    const contactDueAt = given.toDue === null ? null : lastSeenAt + given.toDue;
    return { id: idOf(2, index), given, lastSeenAt, contactDueAt };
  });
  return { nodes, spans, rows: rows.toSorted((a, b) => (a.id < b.id ? -1 : 1)) };
}

const TABLES = [
  'computers',
  'computer_live',
  'computer_status',
  'computer_contacts',
  'computer_dials',
  'computer_probes',
  'policies',
];

/** Replaces everything that is stored. */
export async function storeFleet({ sql, clock }: ForestWorld, { nodes, rows }: Fleet): Promise<void> {
  for (const table of TABLES) await sql.query(`DELETE FROM ${table}`);
  for (const { id, parentId, name, settings, locks } of nodes)
    await sql.query(
      `INSERT INTO policies (id, parent_id, name, description, settings, locks, revision, created_at, updated_at,
         verdict_rules_fleet_ms) VALUES ($1, $2, $3, '', $4, $5, 1, $6, $6, $7)`,
      [id, parentId, name, settings, locks, new Date(0), clock.fleet() - 1000],
    );
  await sql.query('UPDATE policy_forest SET counter = counter + 1');
  for (const row of rows) {
    await storeComputer(sql, row, nodes[row.given.policy % nodes.length]!.id);
    await storeLiveness(sql, row);
    await storeDials(sql, row);
  }
}

async function storeComputer(sql: ForestWorld['sql'], { id, given, lastSeenAt }: Row, policyId: string) {
  const { kind, power: told } = given;
  const since = told && lastSeenAt + told.after;
  const own = Object.keys(given.overrides).length === 0 ? null : given.overrides;
  const expires = told?.expires == null || since === null ? null : since + told.expires;
  await sql.query(
    `INSERT INTO computers (id, name, kind, policy_id, labels, overrides, revision, power_state,
       power_since_fleet_ms, power_expires_fleet_ms, verdict_rules_fleet_ms, created_fleet_ms)
     VALUES ($1, $2, $3, $4, '{}', $5, 1, $6, $7, $8, 0, 0)`,
    [id, `computer ${id}`, kind, policyId, own, told?.state ?? 'unknown', since, expires],
  );
}

async function storeLiveness(sql: ForestWorld['sql'], { id, given, lastSeenAt, contactDueAt }: Row) {
  const { status, confirmed, delivered, goodbye: told, ways: known } = given;
  const seen = (at: number | null) => (status === 'pending' ? null : at);
  const after = (ms: number | null) => seen(ms === null ? null : lastSeenAt + ms);
  await sql.query(
    `INSERT INTO computer_live (computer_id, last_seen_fleet_ms, contact_due_fleet_ms, confirmed_interval_ms,
       delivered_interval_ms, seen_by_agent_fleet_ms, seen_by_dial_fleet_ms) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
    [id, ...[lastSeenAt, contactDueAt].map(seen), confirmed, delivered, ...[known.byAgent, known.byDial].map(after)],
  );
  await sql.query(
    `INSERT INTO computer_status (computer_id, status, reason, since_fleet_ms, goodbye_reason, goodbye_fleet_ms,
       goodbye_expected_ms) VALUES ($1, $2, 'x', 0, $3, $4, $5)`,
    [id, status, told?.reason, told && lastSeenAt + told.after, told?.expected],
  );
}

async function storeDials(sql: ForestWorld['sql'], { id, given: { dials: told, ways: known }, lastSeenAt }: Row) {
  if (known.probe)
    await sql.query('INSERT INTO computer_probes (computer_id, ended_fleet_ms, result) VALUES ($1, $2, $3)', [
      id,
      lastSeenAt + known.probe.after,
      known.probe.result,
    ]);
  if (!told && known.listener === null) return;
  const direction = told ? (told.isDialled ? 'managerInitiated' : 'agentInitiated') : null;
  await sql.query('INSERT INTO computer_contacts (computer_id, direction, listener_state) VALUES ($1, $2, $3)', [
    id,
    direction,
    known.listener,
  ]);
  const failed = told?.failed ?? [];
  if (failed.length === 0) return;
  const begun = failed.map(([after]) => lastSeenAt + after);
  const ended = failed.map(([after, took]) => lastSeenAt + after + took);
  await sql.query(
    `INSERT INTO computer_dials (computer_id, last_begun_fleet_ms, last_ended_fleet_ms, last_result, failures,
       failed_begun_fleet_ms, failed_ended_fleet_ms) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
    [id, begun.at(-1), ended.at(-1), known.isAnswered ? 'answered' : 'refused', failed.length, begun, ended],
  );
}
