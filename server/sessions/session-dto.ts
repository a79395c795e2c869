import { Type } from 'class-transformer';
import { ValidateNested } from 'class-validator';
import { ROLES, type Role } from '../access/actor.js';
import { OneOf, Optional, Schema, Text, Uuid, UuidOrNull } from '../admin-api/dto.js';
import { Flag, Instant, Shown } from '../admin-api/shown.js';

const CODE = { min: 6, max: 32 };
const CODE_SCHEMA = {
  description: 'what the authenticator shows, or a recovery code; where a second factor is set up',
};

export class SignInBody {
  @Text({ min: 1, max: 256 })
  name!: string;

  @Text({ min: 1, max: 1024 })
  password!: string;

  @Optional()
  @Schema(CODE_SCHEMA)
  @Text(CODE)
  code?: string;
}

export class ProofBody {
  @Text({ min: 1, max: 1024 })
  password!: string;

  @Optional()
  @Schema(CODE_SCHEMA)
  @Text(CODE)
  code?: string;
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

  @Shown({ type: ['string', 'null'], enum: ['password', 'second-factor', null] })
  @Schema({ description: 'what has to be changed or set up before anything else is admitted' })
  owes!: string | null;

  @Flag()
  secondFactor!: boolean;
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

  @Instant()
  @Schema({ description: 'until then nothing asks for another proof' })
  provenUntil!: string;
}

/** One of one's own sessions, or of a user's. */
export class SessionDto {
  @Uuid()
  id!: string;

  /** Whether it is the one that asks. */
  @Flag()
  current!: boolean;

  @Instant()
  createdAt!: string;

  /** To the minute. */
  @Instant()
  usedAt!: string;

  /** At the latest; it ends before if it is not used. */
  @Instant()
  expiresAt!: string;

  @Shown({ type: ['string', 'null'] })
  sourceAddress!: string | null;

  @Shown({ type: ['string', 'null'] })
  @Schema({ description: 'what the browser or script called itself' })
  userAgent!: string | null;
}
