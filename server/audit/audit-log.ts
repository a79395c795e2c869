import type { Clock } from '../../lib/clock.js';
import { isPlainObject } from '../../lib/schema.js';
import type { Random } from '../../lib/random.js';
import type { Sql } from '../database/sql.js';
import type { AuditEntry, AuditLog } from './audit.js';

export interface AuditLogDeps {
  readonly clock: Clock;
  readonly random: Random;
}

const SECRET_KEY = /password|secret|token|cookie|authorization|credential|private|hash$/i;
/** API keys, enrollment tokens and PEM, wherever they stand. */
const SECRET_TEXT = /wb[kt]_[A-Za-z0-9_-]{20,}|-----BEGIN [A-Z ]*PRIVATE KEY/;
const DEEPEST = 32;

/** Writes audit rows into the caller's transaction. Members whose name tells of a secret are redacted. */
export function createAuditLog({ clock, random }: AuditLogDeps): AuditLog {
  const appendAll = async (sql: Sql, entries: readonly AuditEntry[]): Promise<void> => {
    if (entries.length === 0) return;
    await sql.query(
      `INSERT INTO audit_log
         (id, at, actor_id, actor_name, source_address, action, subject_type, subject_id, before, after)
       SELECT input.id, $2::timestamptz, input.actor_id, input.actor_name, input.source_address, input.action,
         input.subject_type, input.subject_id, input.before::jsonb, input.after::jsonb
       FROM unnest($1::uuid[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[],
         $10::text[]) AS input (id, actor_id, actor_name, source_address, action, subject_type, subject_id, before, after)`,
      [
        entries.map(() => random.uuid()),
        new Date(clock.wall()),
        entries.map(({ actor }) => actor.id),
        entries.map(({ actor }) => actor.name),
        entries.map(({ actor }) => actor.sourceAddress),
        entries.map(({ action }) => action),
        entries.map(({ subjectType }) => subjectType),
        entries.map(({ subjectId }) => subjectId),
        entries.map(({ before }) => toJson(before)),
        entries.map(({ after }) => toJson(after)),
      ],
    );
  };
  return { append: (sql, entry) => appendAll(sql, [entry]), appendAll };
}

function toJson(value: unknown): string | null {
  return value === undefined ? null : JSON.stringify(redact(value));
}

/** What may be kept: no secrets, and no characters that PostgreSQL does not store. */
export function redact(value: unknown, depth = 0): unknown {
  if (typeof value === 'string') return SECRET_TEXT.test(value) ? '[redacted]' : storable(value);
  if (value instanceof Date) return value.toISOString();
  if (depth >= DEEPEST) return '[too deep]';
  if (Array.isArray(value)) return value.map((member) => redact(member, depth + 1));
  if (!isPlainObject(value)) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, member]) => [
      storable(key),
      isSecret(key, member) ? '[redacted]' : redact(member, depth + 1),
    ]),
  );
}

/** A flag or a count under such a name is no secret. */
function isSecret(key: string, member: unknown): boolean {
  const mayHold = typeof member === 'string' || (typeof member === 'object' && member !== null);
  return mayHold && SECRET_KEY.test(key);
}

function storable(text: string): string {
  return text.toWellFormed().replaceAll('\0', '\ufffd');
}
