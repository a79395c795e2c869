import { IsInt, IsNumber, IsObject, Max, Min } from 'class-validator';
import { Integer, OneOf, Optional, Text, Uuid } from '../admin-api/dto.js';
import { refTo } from '../admin-api/dto-schemas.js';
import { PolicyRefDto } from '../computers/computer-dto.js';
import { Refined } from '../admin-api/refined.js';
import { CheckedMembers, Instant, Shown } from '../admin-api/shown.js';
import { labelsFaults } from '../computers/computer-rules.js';
import { usesFaults } from './token-rules.js';
import type { StoredToken } from './token-repository.js';

const USES_MAX = 1_000_000;
const YEAR_SECONDS = 365 * 86_400;
const RATE_MAX = 100_000;
const RATE_SAYS = { message: `must be a number above 0 and at most ${RATE_MAX}` };

const LABELS_SCHEMA = { type: 'object', additionalProperties: { type: 'string', maxLength: 255 } };

@Refined<CreateEnrollmentTokenBody>(['computerId', 'uses'], usesFaults)
export class CreateEnrollmentTokenBody {
  /** The policy that the computers are attached to. */
  @Uuid()
  policyId!: string;

  /** `agent` unless given, or the kind of the computer that is named. */
  @Optional()
  @OneOf('agent', 'appliance')
  kind?: 'agent' | 'appliance';

  @Integer(1, USES_MAX)
  uses!: number;

  @Integer(1, YEAR_SECONDS)
  expiresInSeconds!: number;

  @Optional()
  @CheckedMembers('isLabels', (value) => labelsFaults(value))
  @Shown(LABELS_SCHEMA)
  labels?: Record<string, string>;

  /** Replaces the limits per address and in total for enrollments with this token. */
  @Optional()
  @IsNumber({ allowNaN: false, allowInfinity: false }, RATE_SAYS)
  @Min(0.001, RATE_SAYS)
  @Max(RATE_MAX, RATE_SAYS)
  ratePerSecond?: number;

  /** A record made beforehand, which the one enrollment with this token takes. */
  @Optional()
  @Uuid()
  computerId?: string;
}

export class CreatedEnrollmentTokenDto {
  @Uuid()
  id!: string;

  /** Shown once; only its hash is stored. */
  @Text({ max: 256 })
  token!: string;

  /** What to run on the computer, with the token in the file that it names. */
  @Text({ max: 1000 })
  command!: string;

  @Instant()
  expiresAt!: string;
}

export class EnrollmentTokenDto {
  @Uuid()
  id!: string;

  @IsObject()
  @Shown(refTo(PolicyRefDto))
  policy!: { readonly id: string; readonly name: string };

  @OneOf('agent', 'appliance')
  kind!: string;

  @IsObject()
  @Shown(LABELS_SCHEMA)
  labels!: Readonly<Record<string, string>>;

  @IsInt()
  uses!: number;

  @IsInt()
  used!: number;

  @Instant()
  expiresAt!: string;

  @Shown({ type: ['number', 'null'] })
  ratePerSecond!: number | null;

  @Shown({ type: ['string', 'null'], format: 'uuid' })
  computerId!: string | null;

  @Instant()
  createdAt!: string;

  @Text({ max: 128 })
  createdBy!: string;
}

export function toEnrollmentTokenDto(token: StoredToken): EnrollmentTokenDto {
  const { policyId, policyName, expiresAt, createdAt, ...same } = token;
  const times = { expiresAt: expiresAt.toISOString(), createdAt: createdAt.toISOString() };
  return { ...same, policy: { id: policyId, name: policyName }, ...times };
}
