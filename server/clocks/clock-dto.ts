import { IsArray, IsIn, IsInt } from 'class-validator';
import { CLOCK_CLASSES } from '../../policies/clock-classification.js';
import { OneOf, Optional, Text } from '../admin-api/dto.js';
import { refTo } from '../admin-api/dto-schemas.js';
import { GivenInstant, Instant, Shown } from '../admin-api/shown.js';

const NULLABLE_INTEGER = { type: ['integer', 'null'] } as const;
const NULLABLE_INSTANT = { type: ['string', 'null'], format: 'date-time' } as const;

export class ClockQuery {
  /** Samples and steps from then on; all that are kept unless given. */
  @Optional()
  @GivenInstant({ description: 'samples and steps from then on' })
  from?: string;

  @Optional()
  @GivenInstant({ description: 'samples and steps until then; now unless given' })
  to?: string;
}

export class ClockDriftDto {
  @Shown({ type: 'number', description: 'parts per million that the clock gains; negative where it loses' })
  ppm!: number;

  @Shown({ type: 'number', description: 'the true rate lies within this of ppm, where it is steady' })
  boundPpm!: number;

  /** Whether the samples lie on one line. */
  @Shown({ type: 'boolean' })
  isSteady!: boolean;

  @Instant()
  since!: string;

  @IsInt()
  samples!: number;
}

export class ClockEvidenceDto {
  @Text({ max: 64 })
  code!: string;

  @Text({ max: 1024 })
  detail!: string;

  @Shown({
    type: 'object',
    additionalProperties: { type: 'number' },
    description: 'durations in milliseconds (…Ms), rates in parts per million (…ppm), counts',
  })
  values!: Readonly<Record<string, number>>;
}

export class ClockSampleDto {
  @Instant()
  instant!: string;

  @IsInt()
  offsetMs!: number;

  /** The true offset lay within this of `offsetMs`. */
  @IsInt()
  errorBoundMs!: number;

  @IsInt()
  roundTripMs!: number;
}

export class ClockStepDto {
  /** It lies between `from` and `until`; both are the receipt where the agent alone told of it. */
  @Instant()
  from!: string;

  @Instant()
  until!: string;

  @IsInt()
  byMs!: number;

  /** `manager-step`: the manager's clock was moved, which most computers show. */
  @OneOf('step', 'time-zone-or-dst', 'suspend', 'manager-step')
  kind!: string;

  /** `agent`: its event 5004 told; `manager`: the offsets of two exchanges differ. */
  @OneOf('agent', 'manager')
  source!: string;

  /** Whether it is above the limit in force. */
  @Shown({ type: 'boolean' })
  isAboveLimit!: boolean;
}

const LIMIT = {
  type: 'object',
  required: ['value', 'inherited', 'source'],
  properties: {
    value: { type: ['integer', 'string'], description: 'seconds, or "unlimited"' },
    inherited: { type: 'boolean' },
    source: { type: 'object', additionalProperties: true },
  },
} as const;

export class ClockDto {
  @Instant()
  at!: string;

  @Shown({ ...NULLABLE_INTEGER, description: "the computer's clock less the manager's trusted time" })
  offsetMs!: number | null;

  @Shown({ ...NULLABLE_INTEGER, description: 'the true offset lies within this of offsetMs' })
  errorBoundMs!: number | null;

  @Shown({ ...NULLABLE_INTEGER, description: 'of the exchange that the offset is of' })
  roundTripMs!: number | null;

  @Shown({ ...NULLABLE_INSTANT, description: 'when that exchange was' })
  sampledAt!: string | null;

  @Shown({ anyOf: [refTo(ClockDriftDto), { type: 'null' }] })
  drift!: ClockDriftDto | null;

  @IsIn([...CLOCK_CLASSES])
  classification!: string;

  @Shown({ ...NULLABLE_INSTANT, description: 'from when on, as far as is known' })
  since!: string | null;

  /** The classification in words. */
  @Text({ max: 1024 })
  means!: string;

  @IsArray()
  @Shown({ type: 'array', items: refTo(ClockEvidenceDto) })
  evidence!: readonly ClockEvidenceDto[];

  @IsArray()
  @Shown({ type: 'array', items: { type: 'string' } })
  advice!: readonly string[];

  /** `agent`: it tells its steps itself; `manager`: the manager compares offsets. */
  @OneOf('agent', 'manager')
  detectedBy!: string;

  @Shown({
    type: 'object',
    required: ['clockChangeLimitSeconds', 'clockDriftLimitSeconds'],
    properties: { clockChangeLimitSeconds: LIMIT, clockDriftLimitSeconds: LIMIT },
  })
  limits!: Readonly<Record<string, unknown>>;

  @IsArray()
  @Shown({ type: 'array', items: refTo(ClockSampleDto), description: 'oldest first, at most 101' })
  samples!: readonly ClockSampleDto[];

  @IsArray()
  @Shown({ type: 'array', items: refTo(ClockStepDto), description: 'newest first, at most 100' })
  steps!: readonly ClockStepDto[];
}
