import { Optional, Schema, Text, Uuid } from '../admin-api/dto.js';
import { PageQuery } from '../admin-api/page.js';

export class AuditQuery extends PageQuery {
  /** The exact action, such as `policy.created`. */
  @Optional()
  @Text({ min: 1, max: 64 })
  action?: string;

  @Optional()
  @Text({ min: 1, max: 64 })
  actorId?: string;

  @Optional()
  @Text({ min: 1, max: 256 })
  subjectId?: string;
}

export class AuditRowReply {
  @Uuid()
  id!: string;

  @Schema({ type: 'string', format: 'date-time' })
  @Text({ max: 32 })
  at!: string;

  @Text({ max: 256 })
  actorId!: string;

  @Text({ max: 256 })
  actorName!: string;

  @Schema({ type: ['string', 'null'] })
  @Text({ max: 64 })
  sourceAddress!: string | null;

  @Text({ max: 64 })
  action!: string;

  @Text({ max: 64 })
  subjectType!: string;

  @Schema({ type: ['string', 'null'] })
  @Text({ max: 256 })
  subjectId!: string | null;

  @Schema({ type: ['object', 'null'], additionalProperties: true, description: 'what it was' })
  @Optional()
  before!: unknown;

  @Schema({ type: ['object', 'null'], additionalProperties: true, description: 'what it is' })
  @Optional()
  after!: unknown;
}
