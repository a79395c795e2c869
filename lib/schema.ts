import { invalidFields, type FieldError } from './problem.js';

/**
 * A reader of untrusted data: returns the typed value, or notes every fault in `errors` and returns undefined.
 * Unknown members are ignored; nothing is copied that the schema does not name.
 */
export type Schema<T> = (value: unknown, pointer: string, errors: FieldError[]) => T | undefined;

export type TypeOf<S> = S extends Schema<infer T> ? T : never;

/** Handed down where nobody reads pointers: none is built below it. */
const NO_POINTER = '';

/** Reads `value` by the schema or throws `request-invalid` with every rejected field. */
export function readBy<T>(schema: Schema<T>, value: unknown): T {
  const errors: FieldError[] = [];
  const result = schema(value, NO_POINTER, errors);
  if (errors.length === 0) return result as T;
  // What is right needs no pointers, and building them costs more than the checks; what is wrong is read again.
  const located: FieldError[] = [];
  schema(value, '#', located);
  throw invalidFields(located);
}

/** Whether no error names the field at the pointer, a part of it, or something that it is a part of. */
export function isSound(errors: readonly FieldError[], pointer: string): boolean {
  return errors.every(({ pointer: named }) => !isWithin(named, pointer) && !isWithin(pointer, named));
}

/** Whether the one pointer is the other or below it. */
function isWithin(pointer: string, above: string): boolean {
  return pointer === above || pointer.startsWith(`${above}/`);
}

function below(pointer: string, token: string | number): string {
  return pointer === NO_POINTER ? NO_POINTER : `${pointer}/${token}`;
}

function refuse(errors: FieldError[], pointer: string, detail: string): undefined {
  errors.push({ pointer, detail });
  return undefined;
}

export interface StringLimits {
  readonly min?: number;
  readonly max: number;
  readonly pattern?: { readonly source: RegExp; readonly says: string };
}

/** A well-formed string without NUL (PostgreSQL stores neither), bounded in UTF-16 units. */
export function string({ min = 0, max, pattern }: StringLimits): Schema<string> {
  return (value, pointer, errors) => {
    if (typeof value !== 'string') return refuse(errors, pointer, 'must be a string');
    if (value.length < min || value.length > max)
      return refuse(errors, pointer, `must have from ${min} to ${max} characters`);
    if (!value.isWellFormed()) return refuse(errors, pointer, 'must not contain a lone surrogate');
    if (value.includes('\0')) return refuse(errors, pointer, 'must not contain U+0000');
    if (pattern && !pattern.source.test(value)) return refuse(errors, pointer, `must be ${pattern.says}`);
    return value;
  };
}

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
const HEX_SHA256 = /^[0-9a-f]{64}$/;

export const uuid: Schema<string> = string({ max: 36, pattern: { source: UUID, says: 'a lower-case UUID' } });
export const sha256Hex: Schema<string> = string({
  max: 64,
  pattern: { source: HEX_SHA256, says: 'a lower-case hex SHA-256' },
});

export function integer(min: number, max: number): Schema<number> {
  return (value, pointer, errors) => {
    if (typeof value !== 'number' || !Number.isSafeInteger(value))
      return refuse(errors, pointer, `must be an integer from ${min} to ${max}`);
    if (value < min || value > max) return refuse(errors, pointer, `must be from ${min} to ${max}`);
    return value;
  };
}

export function number(min: number, max: number): Schema<number> {
  return (value, pointer, errors) => {
    if (typeof value !== 'number' || !Number.isFinite(value)) return refuse(errors, pointer, 'must be a number');
    if (value < min || value > max) return refuse(errors, pointer, `must be from ${min} to ${max}`);
    return value;
  };
}

export const boolean: Schema<boolean> = (value, pointer, errors) =>
  typeof value === 'boolean' ? value : refuse(errors, pointer, 'must be true or false');

export function oneOf<const T extends string>(...choices: readonly T[]): Schema<T> {
  return (value, pointer, errors) =>
    choices.includes(value as T) ? (value as T) : refuse(errors, pointer, `must be one of ${choices.join(', ')}`);
}

export function nullable<T>(inner: Schema<T>): Schema<T | null> {
  return (value, pointer, errors) => (value === null ? null : inner(value, pointer, errors));
}

export function array<T>(inner: Schema<T>, max: number): Schema<readonly T[]> {
  return (value, pointer, errors) => {
    if (!Array.isArray(value)) return refuse(errors, pointer, 'must be an array');
    if (value.length > max) return refuse(errors, pointer, `must have at most ${max} members`);
    return value.map((member, index) => inner(member, below(pointer, index), errors) as T);
  };
}

/** A map with free keys, kept as an object without prototype. */
export function record<T>(inner: Schema<T>, max: number): Schema<Readonly<Record<string, T>>> {
  return (value, pointer, errors) => {
    if (!isPlainObject(value)) return refuse(errors, pointer, 'must be an object');
    const keys = Object.keys(value);
    if (keys.length > max) return refuse(errors, pointer, `must have at most ${max} members`);
    const result = Object.create(null) as Record<string, T>;
    for (const key of keys) {
      if (key.length > 256 || !key.isWellFormed() || key.includes('\0')) {
        refuse(errors, pointer, 'has a key that is too long or malformed');
        continue;
      }
      result[key] = inner(value[key], below(pointer, escapePointer(key)), errors) as T;
    }
    return result;
  };
}

interface Optional<T> {
  readonly optional: Schema<T>;
}

/** Marks a member of `object` as one that may be absent (absent, not null). */
export function optional<T>(schema: Schema<T>): Optional<T> {
  return { optional: schema };
}

type Members = Readonly<Record<string, Schema<unknown> | Optional<unknown>>>;
type Required<M> = {
  [K in keyof M as M[K] extends Schema<unknown> ? K : never]: M[K] extends Schema<infer T> ? T : never;
};
type Absent<M> = {
  [K in keyof M as M[K] extends Optional<unknown> ? K : never]?: M[K] extends Optional<infer T> ? T : never;
};
export type ObjectOf<M> = Readonly<Required<M> & Absent<M>>;

/** An object with the named members; unknown ones are ignored. */
export function object<M extends Members>(members: M): Schema<ObjectOf<M>> {
  const entries = Object.entries(members).map(([key, member]) =>
    typeof member === 'function'
      ? { key, schema: member, needed: true }
      : { key, schema: member.optional, needed: false },
  );
  return (value, pointer, errors) => {
    if (!isPlainObject(value)) return refuse(errors, pointer, 'must be an object');
    const result: Record<string, unknown> = {};
    for (const { key, schema, needed } of entries) {
      const member = value[key];
      if (member !== undefined && Object.hasOwn(value, key)) result[key] = schema(member, below(pointer, key), errors);
      else if (needed) refuse(errors, below(pointer, key), 'is required');
    }
    return result as ObjectOf<M>;
  };
}

/** A NUL or lone surrogate as JSON.stringify writes it, not a backslash that happens to stand before a u. */
const UNSTORABLE = /(?<!\\)(?:\\\\)*\\u(?:0000|d[89a-f])/i;

/** Any JSON value up to a serialised size; strings inside must be storable. Lone surrogates and NUL are refused. */
export function json(maxBytes: number): Schema<unknown> {
  return (value, pointer, errors) => {
    if (budgetAfter(value, maxBytes) >= 0) return value;
    const text = JSON.stringify(value);
    if (text.length > maxBytes) return refuse(errors, pointer, `must serialise to at most ${maxBytes} characters`);
    if (UNSTORABLE.test(text)) return refuse(errors, pointer, 'must not contain U+0000 or a lone surrogate');
    return value;
  };
}

const LONGEST_NUMBER = 25;
const LONGEST_ESCAPE = 6;

/**
 * What is left of `budget` characters after `value` in the longest form that it may serialise to; negative where that is
 * too much or a string cannot be stored. Serialising, which only then is needed to know, costs several times as much.
 */
function budgetAfter(value: unknown, budget: number): number {
  if (budget < 0) return budget;
  if (typeof value === 'string') return budgetAfterText(value, budget);
  if (typeof value !== 'object' || value === null) return budget - LONGEST_NUMBER;
  let left = budget - 2;
  if (Array.isArray(value)) {
    for (const member of value) left = budgetAfter(member, left) - 1;
    return left;
  }
  for (const key of Object.keys(value))
    left = budgetAfter((value as Record<string, unknown>)[key], budgetAfterText(key, left)) - 2;
  return left;
}

function budgetAfterText(text: string, budget: number): number {
  if (!text.isWellFormed() || text.includes('\0')) return -1;
  return budget - text.length * LONGEST_ESCAPE - 2;
}

export function isPlainObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** One reference token of a JSON pointer (RFC 6901). */
export function escapePointer(key: string): string {
  return key.replaceAll('~', '~0').replaceAll('/', '~1');
}
