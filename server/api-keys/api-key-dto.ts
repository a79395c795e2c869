import { ROLES, type Role } from '../access/actor.js';
import { Integer, Name, OneOf, Optional, Schema, Text, Uuid } from '../admin-api/dto.js';

const TEN_YEARS_SECONDS = 315_360_000;
const NAME = { max: 128 };

export class CreateApiKeyBody {
  @Name(NAME)
  name!: string;

  @OneOf(...ROLES)
  role!: Role;

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

  @Schema({ type: 'string', format: 'date-time' })
  @Text({ max: 32 })
  createdAt!: string;

  @Schema({ description: 'the name of who made it' })
  @Text({ max: 256 })
  createdBy!: string;

  @Schema({ type: ['string', 'null'], format: 'date-time' })
  @Text({ max: 32 })
  expiresAt!: string | null;
}

export class CreatedApiKeyReply extends ApiKeyReply {
  @Schema({ description: 'wbk_…, shown this once; goes into Authorization: Bearer' })
  @Text({ max: 64 })
  key!: string;
}
