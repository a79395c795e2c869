import { ROLES, type Role } from '../access/actor.js';
import { Name, OneOf, Optional, Schema, Text, Uuid } from '../admin-api/dto.js';

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
}

export class PatchUserBody {
  @Optional()
  @OneOf(...ROLES)
  role?: Role;

  @Optional()
  @Text(PASSWORD)
  password?: string;
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

  @Schema({ type: 'string', format: 'date-time' })
  @Text({ max: 32 })
  createdAt!: string;

  @Schema({ type: 'string', format: 'date-time' })
  @Text({ max: 32 })
  passwordChangedAt!: string;
}
