import { Type } from 'class-transformer';
import { ValidateNested } from 'class-validator';
import { OneOf, Schema, Text } from '../admin-api/dto.js';

const INSTANT_OR_NULL = { type: ['string', 'null'], format: 'date-time' };

/** Whether verdicts are being made, and if not, why; `until` where the end is known. */
export class VerdictStateReply {
  @OneOf('active', 'held', 'warming')
  state!: string;

  @Schema({ type: ['string', 'null'] })
  @Text({ max: 256 })
  reason!: string | null;

  @Schema({ type: 'string', format: 'date-time' })
  @Text({ max: 32 })
  since!: string;

  @Schema(INSTANT_OR_NULL)
  @Text({ max: 32 })
  until!: string | null;
}

export class SystemReply {
  @Text({ max: 64 })
  node!: string;

  @Schema({ type: 'object', additionalProperties: { type: 'string' } })
  versions!: Readonly<Record<string, string>>;

  @Text({ max: 2048 })
  adminUrl!: string;

  @Text({ max: 2048 })
  agentUrl!: string;

  @Schema({ type: 'object', properties: { admin: { type: 'integer' }, agent: { type: 'integer' } } })
  ports!: { readonly admin: number; readonly agent: number };

  /** Lower-case hex SHA-256 of the root's DER. */
  @Text({ max: 64 })
  caFingerprint!: string;

  @Text({ max: 255 })
  trustDomain!: string;

  @Schema({ type: 'boolean', description: 'the application role cannot change audit rows' })
  auditProtected!: boolean;

  @ValidateNested()
  @Type(() => VerdictStateReply)
  verdicts!: VerdictStateReply;

  @Schema({
    type: 'object',
    description: 'seconds that this process has stored as not listened, the time before it included',
    properties: {
      deafSeconds: { type: 'number' },
      deafSecondsByCause: { type: 'object', additionalProperties: { type: 'number' } },
      deaf: { type: ['string', 'null'], description: 'why nothing is listened to now' },
      deafSince: INSTANT_OR_NULL,
    },
  })
  listening!: {
    readonly deafSeconds: number;
    readonly deafSecondsByCause: Readonly<Record<string, number>>;
    readonly deaf: string | null;
    readonly deafSince: string | null;
  };
}

export class JobReply {
  @Text({ max: 64 })
  name!: string;

  @Schema({ type: ['string', 'null'], description: 'six fields, seconds first, UTC; null for a monotonic timer' })
  @Text({ max: 64 })
  cron!: string | null;

  @Schema(INSTANT_OR_NULL)
  @Text({ max: 32 })
  lastRunAt!: string | null;

  @Schema(INSTANT_OR_NULL)
  @Text({ max: 32 })
  nextRunAt!: string | null;

  @Schema({ type: ['number', 'null'] })
  lastDurationMs!: number | null;

  @Schema({
    type: 'object',
    properties: { cron: { type: 'integer' }, wakeup: { type: 'integer' }, supervisor: { type: 'integer' } },
  })
  runs!: Readonly<Record<string, number>>;

  @Schema({ type: ['string', 'null'] })
  @Text({ max: 8192 })
  lastError!: string | null;
}
