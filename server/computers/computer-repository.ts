import type { EntityManager } from 'typeorm';
import type { Actor } from '../access/actor.js';
import type { Scope } from '../access/scope.js';
import { sqlOfManager, type Sql } from '../database/sql.js';
import type { FleetInstant } from '../fleet-clock/fleet-clock.js';
import type { EditInstant } from '../policies/forest-edit.js';
import { ComputerEntity, ComputerRevisionEntity, toComputer, toComputerRow } from './computer-entity.js';
import type { Computer } from './computer.js';

export interface RevisionNote {
  readonly actor: Actor;
  readonly comment: string;
  readonly at: EditInstant;
}

export interface ComputerRepository {
  find(scope: Scope, computerId: string): Promise<Computer | undefined>;
  /** Takes the row's lock; where the live row is needed too, lock that first. */
  lock(scope: Scope, computerId: string): Promise<Computer | undefined>;
  /** The first lock of whoever changes status, power or certificates; false where there is no such computer. */
  lockLive(computerId: string): Promise<boolean>;
  /** The next report is looked at whole, as if it told something new; under the live row's lock. */
  forgetState(computerId: string): Promise<void>;
  /** A policy that computers can be attached to: it stays until the transaction ends. */
  holdPolicy(scope: Scope, policyId: string): Promise<boolean>;
  /** With its live and status rows: pending, never seen. */
  insert(computer: Computer, note: RevisionNote): Promise<void>;
  /** Stores the next revision. */
  update(computer: Computer, note: RevisionNote): Promise<Computer>;
  /** Without a revision: power and the like. */
  store(computer: Computer): Promise<void>;
  /** The record and all that is of no use without it; history, events and certificates stay. */
  remove(computerId: string): Promise<void>;
}

const CURRENT_TABLES = [
  'computer_live',
  'computer_status',
  'computer_facts',
  'computer_components',
  'computer_contacts',
  'computer_dials',
  'computer_flaps',
  'computer_inventories',
  'computer_packages',
  'computer_listening_ports',
  'computer_connections',
  'computer_probes',
  'computer_refusals',
  'channels',
  'heartbeat_rings',
  'lane_positions',
] as const;

export function createComputerRepository(manager: EntityManager): ComputerRepository {
  const sql = sqlOfManager(manager);
  const rows = () => manager.getRepository(ComputerEntity);
  const select = async (scope: Scope, computerId: string, suffix: string): Promise<Computer | undefined> => {
    const visible = scope.predicate('computers.policy_id', 2);
    const found = await sql.query(
      `SELECT computers.id FROM computers WHERE computers.id = $1 AND ${visible.sql} ${suffix}`,
      [computerId, ...visible.parameters],
    );
    const row = found.length > 0 ? await rows().findOne({ where: { id: computerId } }) : null;
    return row ? toComputer(row) : undefined;
  };
  return {
    find: (scope, computerId) => select(scope, computerId, ''),
    lock: (scope, computerId) => select(scope, computerId, 'FOR NO KEY UPDATE'),
    async lockLive(computerId) {
      const locked = await sql.query(
        'SELECT computer_live.computer_id FROM computer_live WHERE computer_live.computer_id = $1 FOR UPDATE',
        [computerId],
      );
      return locked.length > 0;
    },
    async forgetState(computerId) {
      await sql.query('UPDATE computer_live SET state_digest = NULL WHERE computer_id = $1', [computerId]);
    },
    async holdPolicy(scope, policyId) {
      const visible = scope.predicate('policies.id', 2);
      const held = await sql.query(
        `SELECT policies.id FROM policies WHERE policies.id = $1 AND ${visible.sql} FOR KEY SHARE`,
        [policyId, ...visible.parameters],
      );
      return held.length > 0;
    },
    async insert(computer, note) {
      await rows().insert(toComputerRow(computer));
      await sql.query('INSERT INTO computer_live (computer_id) VALUES ($1)', [computer.id]);
      await sql.query(
        `INSERT INTO computer_status (computer_id, status, reason, since_fleet_ms)
         VALUES ($1, 'pending', 'never-seen', $2)`,
        [computer.id, computer.createdAt],
      );
      await manager.getRepository(ComputerRevisionEntity).insert(revisionOf(computer, note));
    },
    async update(computer, note) {
      const next = { ...computer, revision: computer.revision + 1 };
      await rows().update({ id: next.id }, toComputerRow(next));
      await manager.getRepository(ComputerRevisionEntity).insert(revisionOf(next, note));
      return next;
    },
    store: async (computer) => void (await rows().update({ id: computer.id }, toComputerRow(computer))),
    async remove(computerId) {
      for (const table of CURRENT_TABLES) await sql.query(`DELETE FROM ${table} WHERE computer_id = $1`, [computerId]);
      await rows().delete({ id: computerId });
    },
  };
}

function revisionOf(computer: Computer, { actor, comment, at }: RevisionNote) {
  const { id, revision, name, policyId, labels, address, overrides } = computer;
  const changed = { changedAt: at.wall, changedFleetMs: at.fleet, actorId: actor.id, actorName: actor.name, comment };
  return { computerId: id, revision, ...changed, name, policyId, labels, address, overrides };
}

export interface Reattachment {
  readonly from: string;
  readonly to: string;
  readonly at: EditInstant;
  readonly actor: Actor;
  /** The rules of the policy before count since then; later where they differ from the new one's. */
  readonly rulesSince: FleetInstant;
}

/** Attaches every computer of a policy to another, in id order, each with a revision of its own. */
export async function reattachComputers(sql: Sql, move: Reattachment): Promise<void> {
  await sql.query(
    'SELECT computers.id FROM computers WHERE computers.policy_id = $1 ORDER BY computers.id FOR NO KEY UPDATE',
    [move.from],
  );
  await sql.query(
    `WITH moved AS (
       UPDATE computers SET policy_id = $2, revision = revision + 1,
         verdict_rules_fleet_ms = GREATEST(verdict_rules_fleet_ms, $3::bigint)
       WHERE policy_id = $1 RETURNING *
     )
     INSERT INTO computer_revisions (computer_id, revision, changed_at, changed_fleet_ms, actor_id, actor_name,
       comment, name, policy_id, labels, address, overrides)
     SELECT moved.id, moved.revision, $4::timestamptz, $5::bigint, $6, $7,
       'Its policy was deleted', moved.name, moved.policy_id, moved.labels, moved.address, moved.overrides
     FROM moved ORDER BY moved.id`,
    [move.from, move.to, move.rulesSince, move.at.wall, move.at.fleet, move.actor.id, move.actor.name],
  );
}
