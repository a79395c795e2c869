import { parseRfc3339, toRfc3339 } from '../../lib/clock.js';
import { Conditions } from '../access/conditions.js';
import type { Scope } from '../access/scope.js';
import { containing, keysetOf, mapPage, pageOf, parsePage, type ListOrder, type Page } from '../admin-api/page.js';
import type { Sql } from '../database/sql.js';
import type {
  CertificateDto,
  CertificatesQuery,
  CertificateState,
  ForecastDto,
  ForecastQuery,
} from './certificate-dto.js';

export const CERTIFICATE_ORDER: ListOrder = {
  list: 'certificates',
  keys: { notAfter: { column: 'certificates.not_after', type: 'timestamptz' } },
  default: 'notAfter',
  id: 'certificates.serial',
  idType: 'text',
};

export interface CertificateReading {
  list(scope: Scope, query: CertificatesQuery): Promise<Page<CertificateDto>>;
  forecast(scope: Scope, query: ForecastQuery): Promise<Omit<ForecastDto, 'manager'>>;
}

export interface CertificateReadingDeps {
  readonly sql: Sql;
  /** Unix milliseconds. */
  readonly trustedNow: () => number;
}

interface Row {
  readonly serial: string;
  readonly computer_id: string;
  readonly computer_name: string | null;
  readonly key_digest: Buffer;
  readonly not_before: Date;
  readonly not_after: Date;
  readonly issued_at: Date;
  readonly renews: string | null;
  readonly used_at: Date | null;
  readonly revoked_at: Date | null;
  readonly revoked_reason: string | null;
}

export function createCertificateReading(deps: CertificateReadingDeps): CertificateReading {
  return { list: (scope, query) => list(deps, scope, query), forecast: (scope, query) => forecast(deps, scope, query) };
}

/** What is left of removed computers only the whole forest shows. */
async function list(
  { sql, trustedNow }: CertificateReadingDeps,
  scope: Scope,
  query: CertificatesQuery,
): Promise<Page<CertificateDto>> {
  const page = parsePage(query, CERTIFICATE_ORDER);
  const now = trustedNow();
  const where = conditionsOf(scope, query, toRfc3339(now));
  const keyset = keysetOf(page, where.next);
  where.add(keyset.condition, ...keyset.parameters);
  const rows = await sql.query<Row>(
    `SELECT certificates.serial, certificates.computer_id, computers.name AS computer_name, certificates.key_digest,
       certificates.not_before, certificates.not_after, certificates.issued_at, certificates.renews,
       certificates.used_at, certificates.revoked_at, certificates.revoked_reason
     FROM certificates LEFT JOIN computers ON computers.id = certificates.computer_id
     WHERE ${where.toSql()} ORDER BY ${keyset.orderBy} LIMIT $${where.next}`,
    [...where.parameters, page.limit + 1],
  );
  return mapPage(
    pageOf(rows, page, ({ not_after: notAfter, serial }) => [notAfter.toISOString(), serial]),
    (row) => toDto(row, now),
  );
}

function conditionsOf(scope: Scope, query: CertificatesQuery, now: string): Conditions {
  const { state, computerId, policyId, expiresBefore, q } = query;
  const where = new Conditions();
  where.addScope('computers.policy_id', scope);
  if (policyId !== undefined) where.addSubtree('computers.policy_id', { scope, policyId });
  if (state !== undefined) addState(where, state, now);
  if (computerId !== undefined) where.add(`certificates.computer_id = $${where.next}::uuid`, computerId);
  if (expiresBefore !== undefined) {
    const before = toRfc3339(parseRfc3339(expiresBefore) ?? 0);
    where.add(`certificates.not_after < $${where.next}::timestamptz`, before);
  }
  if (q !== undefined) where.add(`computers.name ILIKE $${where.next} ESCAPE '\\'`, containing(q));
  return where;
}

function addState(where: Conditions, state: CertificateState, now: string): void {
  where.add(`certificates.revoked_at IS ${state === 'revoked' ? 'NOT NULL' : 'NULL'}`);
  if (state !== 'revoked')
    where.add(`certificates.not_after ${state === 'valid' ? '>=' : '<'} $${where.next}::timestamptz`, now);
}

function toDto(row: Row, now: number): CertificateDto {
  const instant = (date: Date | null): string | null => date && toRfc3339(date.getTime());
  const isOver = row.not_after.getTime() < now;
  return {
    serial: row.serial,
    state: row.revoked_at ? 'revoked' : isOver ? 'expired' : 'valid',
    computerId: row.computer_id,
    computerName: row.computer_name,
    notBefore: toRfc3339(row.not_before.getTime()),
    notAfter: toRfc3339(row.not_after.getTime()),
    issuedAt: toRfc3339(row.issued_at.getTime()),
    renews: row.renews,
    usedAt: instant(row.used_at),
    revokedAt: instant(row.revoked_at),
    revokedReason: row.revoked_reason,
    keyDigest: row.key_digest.toString('hex'),
  };
}

interface DayRow {
  readonly day: string;
  readonly expiring: number;
  readonly renewing: number;
}

interface TotalsRow {
  readonly computers: number;
  readonly expired: number;
  readonly late: number;
  readonly unused: number;
}

/** One row per computer: its newest certificate that counts. */
const newestOf = (where: string): string => `
WITH newest AS MATERIALIZED (
  SELECT DISTINCT ON (certificates.computer_id) certificates.not_before, certificates.not_after,
    certificates.renews IS NOT NULL AND certificates.used_at IS NULL AS is_unused
  FROM certificates
  JOIN computers ON computers.id = certificates.computer_id
  JOIN computer_status ON computer_status.computer_id = computers.id AND computer_status.status <> 'revoked'
  WHERE certificates.revoked_at IS NULL AND ${where}
  ORDER BY certificates.computer_id, certificates.not_after DESC, certificates.serial DESC)`;

async function forecast(
  { sql, trustedNow }: CertificateReadingDeps,
  scope: Scope,
  { days, policyId }: ForecastQuery,
): Promise<Omit<ForecastDto, 'manager'>> {
  const now = toRfc3339(trustedNow());
  const where = new Conditions();
  where.add('$1::timestamptz IS NOT NULL', now);
  where.addScope('computers.policy_id', scope);
  if (policyId !== undefined) where.addSubtree('computers.policy_id', { scope, policyId });
  const newest = newestOf(where.toSql());
  const [totals] = await sql.query<TotalsRow>(
    `${newest} SELECT count(*)::integer AS computers,
       (count(*) FILTER (WHERE newest.not_after < $1::timestamptz))::integer AS expired,
       (count(*) FILTER (WHERE newest.not_after - (newest.not_after - newest.not_before) / 3 <= $1::timestamptz))::integer AS late,
       (count(*) FILTER (WHERE newest.is_unused))::integer AS unused
     FROM newest`,
    where.parameters,
  );
  const rows = await sql.query<DayRow>(
    `${newest}, told AS (
       SELECT newest.not_after AS at, 1 AS expiring, 0 AS renewing FROM newest
       UNION ALL
       SELECT newest.not_before + (newest.not_after - newest.not_before) / 2, 0, 1 FROM newest)
     SELECT to_char(calendar.day, 'YYYY-MM-DD') AS day, coalesce(sum(told.expiring), 0)::integer AS expiring,
       coalesce(sum(told.renewing), 0)::integer AS renewing
     FROM generate_series(($1::timestamptz AT TIME ZONE 'UTC')::date,
       ($1::timestamptz AT TIME ZONE 'UTC')::date + ($${where.next}::integer - 1), interval '1 day') AS calendar (day)
     LEFT JOIN told ON (told.at AT TIME ZONE 'UTC')::date = calendar.day::date AND told.at >= $1::timestamptz
     GROUP BY calendar.day ORDER BY calendar.day`,
    [...where.parameters, days],
  );
  const none = { computers: 0, expired: 0, late: 0, unused: 0 };
  return { at: now, ...(totals ?? none), days: rows };
}
