import { EntitySchema } from 'typeorm';
import type { PolicyLocks } from '../../policies/resolve-settings.js';
import type { SettingOverrides } from '../../policies/setting-values.js';
import type { Policy } from './policy.js';

/** A row of `policies`. */
export interface PolicyRow {
  id: string;
  parentId: string | null;
  name: string;
  description: string;
  settings: SettingOverrides;
  locks: PolicyLocks;
  builtIn: boolean;
  revision: number;
  createdAt: Date;
  updatedAt: Date;
  verdictRulesFleetMs: number;
}

export const PolicyEntity = new EntitySchema<PolicyRow>({
  name: 'Policy',
  tableName: 'policies',
  columns: {
    id: { type: 'uuid', primary: true },
    parentId: { name: 'parent_id', type: 'uuid', nullable: true },
    name: { type: 'text' },
    description: { type: 'text' },
    settings: { type: 'jsonb' },
    locks: { type: 'jsonb' },
    builtIn: { name: 'built_in', type: 'boolean', default: false },
    revision: { type: 'integer' },
    createdAt: { name: 'created_at', type: 'timestamptz' },
    updatedAt: { name: 'updated_at', type: 'timestamptz' },
    verdictRulesFleetMs: { name: 'verdict_rules_fleet_ms', type: 'bigint' },
  },
});

export interface PolicyRevisionRow {
  policyId: string;
  revision: number;
  changedAt: Date;
  changedFleetMs: number;
  actorId: string;
  actorName: string;
  comment: string;
  name: string;
  parentId: string | null;
  settings: SettingOverrides;
  locks: PolicyLocks;
}

export const PolicyRevisionEntity = new EntitySchema<PolicyRevisionRow>({
  name: 'PolicyRevision',
  tableName: 'policy_revisions',
  columns: {
    policyId: { name: 'policy_id', type: 'uuid', primary: true },
    revision: { type: 'integer', primary: true },
    changedAt: { name: 'changed_at', type: 'timestamptz' },
    changedFleetMs: { name: 'changed_fleet_ms', type: 'bigint' },
    actorId: { name: 'actor_id', type: 'text' },
    actorName: { name: 'actor_name', type: 'text' },
    comment: { type: 'text' },
    name: { type: 'text' },
    parentId: { name: 'parent_id', type: 'uuid', nullable: true },
    settings: { type: 'jsonb' },
    locks: { type: 'jsonb' },
  },
});

export function toPolicy(row: PolicyRow): Policy {
  const { verdictRulesFleetMs, ...rest } = row;
  return { ...rest, rulesSince: verdictRulesFleetMs };
}

export function toPolicyRow(policy: Policy): PolicyRow {
  const { rulesSince, ...rest } = policy;
  return { ...rest, verdictRulesFleetMs: rulesSince };
}
