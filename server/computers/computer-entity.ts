import { EntitySchema } from 'typeorm';
import type { ComputerKind, SettingOverrides } from '../../policies/setting-values.js';
import type { PowerState } from '../../policies/status-model.js';
import type { Computer, Labels } from './computer.js';

/** A row of `computers`. */
export interface ComputerRow {
  id: string;
  name: string;
  kind: ComputerKind;
  address: string | null;
  policyId: string;
  labels: Labels;
  overrides: SettingOverrides | null;
  revision: number;
  powerState: PowerState;
  powerSource: string | null;
  powerSinceFleetMs: number | null;
  powerExpiresFleetMs: number | null;
  verdictRulesFleetMs: number;
  createdFleetMs: number;
  enrolledFleetMs: number | null;
}

export const ComputerEntity = new EntitySchema<ComputerRow>({
  name: 'Computer',
  tableName: 'computers',
  columns: {
    id: { type: 'uuid', primary: true },
    name: { type: 'text' },
    kind: { type: 'text' },
    address: { type: 'text', nullable: true },
    policyId: { name: 'policy_id', type: 'uuid' },
    labels: { type: 'jsonb' },
    overrides: { type: 'jsonb', nullable: true },
    revision: { type: 'integer' },
    powerState: { name: 'power_state', type: 'text', default: 'unknown' },
    powerSource: { name: 'power_source', type: 'text', nullable: true },
    powerSinceFleetMs: { name: 'power_since_fleet_ms', type: 'bigint', nullable: true },
    powerExpiresFleetMs: { name: 'power_expires_fleet_ms', type: 'bigint', nullable: true },
    verdictRulesFleetMs: { name: 'verdict_rules_fleet_ms', type: 'bigint' },
    createdFleetMs: { name: 'created_fleet_ms', type: 'bigint' },
    enrolledFleetMs: { name: 'enrolled_fleet_ms', type: 'bigint', nullable: true },
  },
});

export interface ComputerRevisionRow {
  computerId: string;
  revision: number;
  changedAt: Date;
  changedFleetMs: number;
  actorId: string;
  actorName: string;
  comment: string;
  name: string;
  policyId: string;
  labels: Labels;
  address: string | null;
  overrides: SettingOverrides | null;
}

export const ComputerRevisionEntity = new EntitySchema<ComputerRevisionRow>({
  name: 'ComputerRevision',
  tableName: 'computer_revisions',
  columns: {
    computerId: { name: 'computer_id', type: 'uuid', primary: true },
    revision: { type: 'integer', primary: true },
    changedAt: { name: 'changed_at', type: 'timestamptz' },
    changedFleetMs: { name: 'changed_fleet_ms', type: 'bigint' },
    actorId: { name: 'actor_id', type: 'text' },
    actorName: { name: 'actor_name', type: 'text' },
    comment: { type: 'text' },
    name: { type: 'text' },
    policyId: { name: 'policy_id', type: 'uuid' },
    labels: { type: 'jsonb' },
    address: { type: 'text', nullable: true },
    overrides: { type: 'jsonb', nullable: true },
  },
});

export function toComputer(row: ComputerRow): Computer {
  return {
    id: row.id,
    name: row.name,
    kind: row.kind,
    address: row.address,
    policyId: row.policyId,
    labels: row.labels,
    overrides: row.overrides,
    revision: row.revision,
    power: {
      state: row.powerState,
      source: row.powerSource,
      since: row.powerSinceFleetMs,
      expiresAt: row.powerExpiresFleetMs,
    },
    rulesSince: row.verdictRulesFleetMs,
    createdAt: row.createdFleetMs,
    enrolledAt: row.enrolledFleetMs,
  };
}

export function toComputerRow(computer: Computer): ComputerRow {
  const { power, rulesSince, createdAt, enrolledAt, ...same } = computer;
  return {
    ...same,
    powerState: power.state,
    powerSource: power.source,
    powerSinceFleetMs: power.since,
    powerExpiresFleetMs: power.expiresAt,
    verdictRulesFleetMs: rulesSince,
    createdFleetMs: createdAt,
    enrolledFleetMs: enrolledAt,
  };
}
