import { Type } from 'class-transformer';
import { ValidateNested } from 'class-validator';
import { Integer, OneOf, Schema, Text } from '../admin-api/dto.js';

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

/** `resumesAt`: unless it is stopped until then, the manager goes on as before. */
export class DrainReply {
  @OneOf('off', 'draining', 'drained', 'stopping')
  state!: string;

  @Schema(INSTANT_OR_NULL)
  @Text({ max: 32 })
  since!: string | null;

  @Schema(INSTANT_OR_NULL)
  @Text({ max: 32 })
  endsAt!: string | null;

  @Schema(INSTANT_OR_NULL)
  @Text({ max: 32 })
  resumesAt!: string | null;
}

export class DrainBody {
  @Schema({ description: 'how long agents are told to come back afterwards, spread over as long again' })
  @Integer(1, 900)
  seconds!: number;
}

/** The ping of WARDBEAT_DEADMAN_URL, of which only the origin is shown. */
export class DeadManReply {
  @Schema({ type: 'boolean' })
  configured!: boolean;

  @Schema({ type: ['string', 'null'] })
  @Text({ max: 2048 })
  origin!: string | null;

  @Schema(INSTANT_OR_NULL)
  @Text({ max: 32 })
  lastOkAt!: string | null;

  @Schema({ type: ['string', 'null'], description: 'why the last ping was not taken' })
  @Text({ max: 256 })
  lastError!: string | null;

  @Schema({ type: ['string', 'null'], description: 'why none was sent when it was last time for one' })
  @Text({ max: 256 })
  withheld!: string | null;
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

  @ValidateNested()
  @Type(() => DrainReply)
  drain!: DrainReply;

  @ValidateNested()
  @Type(() => DeadManReply)
  deadman!: DeadManReply;

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
