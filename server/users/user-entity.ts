import { EntitySchema } from 'typeorm';
import type { Role } from '../access/actor.js';

export interface UserRow {
  id: string;
  name: string;
  passwordHash: string;
  role: Role;
  policyId: string | null;
  createdAt: Date;
  passwordChangedAt: Date;
  mustChangePassword: boolean;
  disabled: boolean;
}

export const UserEntity = new EntitySchema<UserRow>({
  name: 'User',
  tableName: 'users',
  columns: {
    id: { type: 'uuid', primary: true },
    name: { type: 'text', unique: true },
    passwordHash: { name: 'password_hash', type: 'text' },
    role: { type: 'text' },
    policyId: { name: 'policy_id', type: 'uuid', nullable: true },
    createdAt: { name: 'created_at', type: 'timestamptz' },
    passwordChangedAt: { name: 'password_changed_at', type: 'timestamptz' },
    mustChangePassword: { name: 'must_change_password', type: 'boolean' },
    disabled: { type: 'boolean' },
  },
});
