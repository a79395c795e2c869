import { ArrayMaxSize, IsArray } from 'class-validator';
import { Integer, OneOf, Schema, Text } from '../admin-api/dto.js';
import { RECOVERY_CODES } from './recovery-code.js';

export const SECOND_FACTOR_STATES = ['none', 'begun', 'on'] as const;

export class SecondFactorReply {
  @Schema({ description: 'begun: not yet confirmed, and asked for nowhere' })
  @OneOf(...SECOND_FACTOR_STATES)
  state!: (typeof SECOND_FACTOR_STATES)[number];

  @Schema({ type: ['string', 'null'], format: 'date-time' })
  @Text({ max: 32 })
  confirmedAt!: string | null;

  @Integer(0, RECOVERY_CODES)
  recoveryCodesLeft!: number;
}

export class BegunSecondFactorReply {
  @Schema({ description: 'base32, shown this once' })
  @Text({ max: 64 })
  secret!: string;

  @Schema({ description: 'otpauth://…, what a QR code for the authenticator holds' })
  @Text({ max: 1024 })
  uri!: string;
}

export class ConfirmSecondFactorBody {
  @Schema({ description: 'six digits that the authenticator shows' })
  @Text({ min: 6, max: 16 })
  code!: string;
}

export class RecoveryCodesReply {
  @Schema({
    type: 'array',
    maxItems: RECOVERY_CODES,
    items: { type: 'string' },
    description: 'shown this once; each stands in for one code of the authenticator, once',
  })
  @IsArray()
  @ArrayMaxSize(RECOVERY_CODES)
  recoveryCodes!: readonly string[];
}
