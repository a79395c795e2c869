import { Type } from 'class-transformer';
import { ValidateNested } from 'class-validator';
import { ROLES, type Role } from '../access/actor.js';
import { OneOf, Schema, Text, Uuid, UuidOrNull } from '../admin-api/dto.js';

export class SignInBody {
  @Text({ min: 1, max: 256 })
  name!: string;

  @Text({ min: 1, max: 1024 })
  password!: string;
}

export class SessionUserReply {
  @Uuid()
  id!: string;

  @Text({ max: 64 })
  name!: string;

  @OneOf(...ROLES)
  role!: Role;

  /** The policy that the role is bound to, with all below it; null: the whole forest. */
  @UuidOrNull()
  policyId!: string | null;
}

export class SessionReply {
  @ValidateNested()
  @Type(() => SessionUserReply)
  user!: SessionUserReply;

  /** Goes into X-CSRF-Token of calls that change something. */
  @Text({ max: 64 })
  csrfToken!: string;

  @Schema({ type: 'string', format: 'date-time' })
  @Text({ max: 32 })
  expiresAt!: string;
}
