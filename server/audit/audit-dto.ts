import { Optional, Schema, Text, Uuid } from '../admin-api/dto.js';
import { PageQuery } from '../admin-api/page.js';
import { Checked, Shown } from '../admin-api/shown.js';
import { parseCheckpoint } from './seal-rules.js';
import { AUDIT_WARNINGS, type AuditWarning } from './seal-time-rules.js';
import { AUDIT_FAULTS, WARNINGS_MAX, type AuditFault } from './verify-audit.js';

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

export class AuditVerificationQuery {
  /** `NUMBER:HASH`, kept apart from the database: without it a cut-off end of the log cannot be seen. */
  @Optional()
  @Schema({ type: 'string', pattern: '^[1-9][0-9]{0,14}:[0-9a-f]{64}$' })
  @Checked('isCheckpoint', (value) =>
    typeof value === 'string' && parseCheckpoint(value)
      ? undefined
      : "must be a seal's number, a colon and 64 hexadecimal digits in lower case",
  )
  checkpoint?: string;
}

export class AuditVerificationReply {
  @Shown({ type: 'boolean' })
  sound!: boolean;

  @Shown({
    type: ['object', 'null'],
    description: 'the first thing found wrong',
    properties: {
      kind: { enum: [...AUDIT_FAULTS] },
      number: { type: ['integer', 'null'] },
      auditId: { type: ['string', 'null'] },
      detail: { type: 'string' },
    },
  })
  fault!: AuditFault | null;

  @Shown({ type: 'integer', description: 'seals found good, from the first on' })
  verified!: number;

  @Shown({ type: ['integer', 'null'], description: 'rows that wait for their seal' })
  waiting!: number | null;

  @Shown({ type: ['string', 'null'], description: 'the end of what was verified, to be kept apart' })
  checkpoint!: string | null;

  @Shown({
    type: 'array',
    maxItems: WARNINGS_MAX,
    description: 'what is strange about times and proves nothing alone, the first of `warningCount`',
    items: {
      type: 'object',
      properties: {
        kind: { enum: [...AUDIT_WARNINGS] },
        number: { type: ['integer', 'null'] },
        auditId: { type: 'string' },
        detail: { type: 'string' },
      },
    },
  })
  warnings!: readonly AuditWarning[];

  @Shown({ type: 'integer' })
  warningCount!: number;
}
