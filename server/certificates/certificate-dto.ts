import { IsArray, IsInt, IsObject } from 'class-validator';
import { OneOf, Optional, QueryInteger, Text, Uuid } from '../admin-api/dto.js';
import { refTo } from '../admin-api/dto-schemas.js';
import { PageQuery } from '../admin-api/page.js';
import { GivenInstant, Instant, Shown } from '../admin-api/shown.js';

export const CERTIFICATE_STATES = ['valid', 'expired', 'revoked'] as const;
export type CertificateState = (typeof CERTIFICATE_STATES)[number];

const NULLABLE_TEXT = { type: ['string', 'null'] };
const NULLABLE_INSTANT = { type: ['string', 'null'], format: 'date-time' };
const SERIAL_MAX = 64;
const NAME_MAX = 253;
const MOST_DAYS = 400;

export class CertificatesQuery extends PageQuery {
  /** `valid`: neither revoked nor expired. */
  @Optional()
  @OneOf(...CERTIFICATE_STATES)
  state?: CertificateState;

  @Optional()
  @Uuid()
  computerId?: string;

  /** Certificates of the computers of this policy and of those below it. */
  @Optional()
  @Uuid()
  policyId?: string;

  /** Those that end before it. */
  @Optional()
  @GivenInstant()
  expiresBefore?: string;
}

export class CertificateDto {
  @Text({ max: SERIAL_MAX })
  serial!: string;

  @OneOf(...CERTIFICATE_STATES)
  state!: string;

  @Uuid()
  computerId!: string;

  /** Null where the computer was removed. */
  @Shown({ ...NULLABLE_TEXT, maxLength: NAME_MAX })
  computerName!: string | null;

  @Instant()
  notBefore!: string;

  @Instant()
  notAfter!: string;

  @Instant()
  issuedAt!: string;

  /** The serial of the certificate that it was to take the place of; null of an enrollment's. */
  @Shown(NULLABLE_TEXT)
  renews!: string | null;

  /** When a report first came by it, of a renewal: from then on the one before counts no more. */
  @Shown(NULLABLE_INSTANT)
  usedAt!: string | null;

  @Shown(NULLABLE_INSTANT)
  revokedAt!: string | null;

  @Shown(NULLABLE_TEXT)
  revokedReason!: string | null;

  /** Lower-case hex SHA-256 of the public key. */
  @Text({ max: SERIAL_MAX })
  keyDigest!: string;
}

export class ForecastQuery {
  /** How far to look ahead. */
  @Optional()
  @QueryInteger(1, MOST_DAYS)
  days: number = 90;

  /** Of the computers of this policy and of those below it. */
  @Optional()
  @Uuid()
  policyId?: string;
}

export class ForecastDayDto {
  /** UTC. */
  @Shown({ type: 'string', format: 'date' })
  day!: string;

  /** Certificates in use that end on it unless they are renewed. */
  @IsInt()
  expiring!: number;

  /** Of those in use, the ones whose half of life falls on it: around then they are renewed. */
  @IsInt()
  renewing!: number;
}

export class ManagerCertificateDto {
  @OneOf('manager', 'admin', 'intermediate', 'root')
  name!: string;

  @Instant()
  notAfter!: string;
}

export class ForecastDto {
  @Instant()
  at!: string;

  /** Computers that are not revoked and have a certificate: each counts once, by its newest one. */
  @IsInt()
  computers!: number;

  /** Of them, those whose certificate has expired. */
  @IsInt()
  expired!: number;

  /** Those whose certificate is past two thirds of its life: they were not renewed in time. */
  @IsInt()
  late!: number;

  /** Those that were issued another certificate and did not use it yet. */
  @IsInt()
  unused!: number;

  @IsArray()
  @Shown({ type: 'array', items: refTo(ForecastDayDto) })
  days!: readonly ForecastDayDto[];

  /** What the manager itself needs; nothing of it for callers whose role is bound to a policy. */
  @IsArray()
  @IsObject({ each: true })
  @Shown({ type: 'array', items: refTo(ManagerCertificateDto) })
  manager!: readonly ManagerCertificateDto[];
}
