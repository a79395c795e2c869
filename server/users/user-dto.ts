import { ROLES, type Role } from '../access/actor.js';
import { Name, OneOf, Optional, OptionalOrNull, Schema, Text, Uuid, UuidOrNull } from '../admin-api/dto.js';
import { Flag } from '../admin-api/shown.js';

/** Length counts, composition does not (NIST SP 800-63B). */
const PASSWORD = { min: 8, max: 1024 };
const NAME = { max: 64 };

export class CreateUserBody {
  @Name(NAME)
  name!: string;

  @OneOf(...ROLES)
  role!: Role;

  @Text(PASSWORD)
  password!: string;

  /** Binds the role to a policy and all below it; null: the whole forest. Absent: to what one's own role is bound to. */
  @OptionalOrNull()
  @Uuid()
  policyId?: string | null;

  /** The user has to choose a password of his own before anything else. */
  @Optional()
  @Flag()
  mustChangePassword?: boolean;
}

export class PatchUserBody {
  @Optional()
  @OneOf(...ROLES)
  role?: Role;

  @Optional()
  @Text(PASSWORD)
  password?: string;

  /** Absent leaves; null: the whole forest. */
  @OptionalOrNull()
  @Uuid()
  policyId?: string | null;

  @Optional()
  @Flag()
  mustChangePassword?: boolean;

  /** He can neither sign in nor go on. */
  @Optional()
  @Flag()
  disabled?: boolean;
}

export class ChangePasswordBody {
  @Text({ min: 1, max: 1024 })
  currentPassword!: string;

  @Text(PASSWORD)
  newPassword!: string;
}

export class UserReply {
  @Uuid()
  id!: string;

  @Text(NAME)
  name!: string;

  @OneOf(...ROLES)
  role!: Role;

  /** The policy that the role is bound to, with all below it; null: the whole forest. */
  @UuidOrNull()
  policyId!: string | null;

  @Schema({ type: 'string', format: 'date-time' })
  @Text({ max: 32 })
  createdAt!: string;

  @Schema({ type: 'string', format: 'date-time' })
  @Text({ max: 32 })
  passwordChangedAt!: string;

  @Flag()
  mustChangePassword!: boolean;

  @Flag()
  disabled!: boolean;

  @Flag()
  secondFactor!: boolean;

  @Schema({ type: ['string', 'null'], format: 'date-time' })
  @Text({ max: 32 })
  lastSignedInAt!: string | null;
}
