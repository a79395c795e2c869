import { EntitySchema } from 'typeorm';

export interface SessionRow {
  id: string;
  secretHash: Buffer;
  csrfHash: Buffer;
  userId: string;
  createdAt: Date;
  usedAt: Date;
  expiresAt: Date;
  provenAt: Date;
  sourceAddress: string | null;
  userAgent: string | null;
}

export const SessionEntity = new EntitySchema<SessionRow>({
  name: 'Session',
  tableName: 'sessions',
  columns: {
    id: { type: 'uuid', primary: true },
    secretHash: { name: 'secret_hash', type: 'bytea', unique: true },
    csrfHash: { name: 'csrf_hash', type: 'bytea' },
    userId: { name: 'user_id', type: 'uuid' },
    createdAt: { name: 'created_at', type: 'timestamptz' },
    usedAt: { name: 'used_at', type: 'timestamptz' },
    expiresAt: { name: 'expires_at', type: 'timestamptz' },
    provenAt: { name: 'proven_at', type: 'timestamptz' },
    sourceAddress: { name: 'source_address', type: 'text', nullable: true },
    userAgent: { name: 'user_agent', type: 'text', nullable: true },
  },
});
