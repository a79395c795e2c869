import { ROLES, type Role } from '../access/actor.js';
import { Integer, Name, OneOf, Optional, OptionalOrNull, Schema, Text, Uuid, UuidOrNull } from '../admin-api/dto.js';

const TEN_YEARS_SECONDS = 315_360_000;
const NAME = { max: 128 };

export class CreateApiKeyBody {
  @Name(NAME)
  name!: string;

  @OneOf(...ROLES)
  role!: Role;

  /** Binds the role to a policy and all below it; null: the whole forest. Absent: to what one's own role is bound to. */
  @OptionalOrNull()
  @Uuid()
  policyId?: string | null;

  /** Absent: the key does not expire. */
  @Optional()
  @Integer(1, TEN_YEARS_SECONDS)
  expiresInSeconds?: number;
}

export class ApiKeyReply {
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

  @Schema({ description: 'the name of who made it' })
  @Text({ max: 256 })
  createdBy!: string;

  @Schema({ type: ['string', 'null'], format: 'date-time' })
  @Text({ max: 32 })
  expiresAt!: string | null;

  @Schema({ type: ['string', 'null'], description: 'how the key begins; null for one that is older than the prefix' })
  @Text({ max: 16 })
  prefix!: string | null;

  @Schema({ type: ['string', 'null'], format: 'date-time', description: 'to the minute; null: never' })
  @Text({ max: 32 })
  lastUsedAt!: string | null;

  @Schema({ type: ['string', 'null'], description: 'the address that it was last used from' })
  @Text({ max: 64 })
  lastUsedFrom!: string | null;
}

export class CreatedApiKeyReply extends ApiKeyReply {
  @Schema({ description: 'wbk_…, shown this once; goes into Authorization: Bearer' })
  @Text({ max: 64 })
  key!: string;
}
