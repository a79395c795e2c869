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
  return {
    async append(sql: Sql, { actor, action, subjectType, subjectId, before, after }: AuditEntry) {
      await sql.query(
        `INSERT INTO audit_log
           (id, at, actor_id, actor_name, source_address, action, subject_type, subject_id, before, after)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`,
        [
          random.uuid(),
          new Date(clock.wall()),
          actor.id,
          actor.name,
          actor.sourceAddress,
          action,
          subjectType,
          subjectId,
          toJson(before),
          toJson(after),
        ],
      );
    },
  };
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
