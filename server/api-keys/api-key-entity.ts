import { EntitySchema } from 'typeorm';
import type { Role } from '../access/actor.js';

export interface ApiKeyRow {
  id: string;
  name: string;
  keyHash: Buffer;
  role: Role;
  policyId: string | null;
  createdAt: Date;
  createdBy: string;
  expiresAt: Date | null;
  keyPrefix: string | null;
}

export const ApiKeyEntity = new EntitySchema<ApiKeyRow>({
  name: 'ApiKey',
  tableName: 'api_keys',
  columns: {
    id: { type: 'uuid', primary: true },
    name: { type: 'text', unique: true },
    keyHash: { name: 'key_hash', type: 'bytea', unique: true },
    role: { type: 'text' },
    policyId: { name: 'policy_id', type: 'uuid', nullable: true },
    createdAt: { name: 'created_at', type: 'timestamptz' },
    createdBy: { name: 'created_by', type: 'text' },
    expiresAt: { name: 'expires_at', type: 'timestamptz', nullable: true },
    keyPrefix: { name: 'key_prefix', type: 'text', nullable: true },
  },
});
