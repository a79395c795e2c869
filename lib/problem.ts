import { PROBLEM_CODES, type ProblemCode, type ProblemKind } from './problem-codes.js';

/** One rejected field: a JSON pointer as a URI fragment (`#/a/b`) and how to mend it. */
export interface FieldError {
  readonly pointer: string;
  readonly detail: string;
}

export interface ProblemFacts {
  /** For a human: what is wrong and how to mend it. */
  readonly detail?: string;
  readonly errors?: readonly FieldError[];
  /** Seconds for a `Retry-After` header. */
  readonly retryAfterSeconds?: number;
  /** Further members of the problem document, such as the locking policy's name. */
  readonly members?: Readonly<Record<string, unknown>>;
}

/** An expected failure, by a code of the one table. Everything else that is thrown is a bug and reads `internal`. */
export class Problem extends Error {
  readonly code: ProblemCode;
  readonly facts: ProblemFacts;

  constructor(code: ProblemCode, facts: ProblemFacts = {}, cause?: unknown) {
    super(facts.detail ?? detailOf(code), cause === undefined ? {} : { cause });
    this.name = 'Problem';
    this.code = code;
    this.facts = facts;
  }

  get status(): number {
    return PROBLEM_CODES[this.code].status;
  }
}

function detailOf(code: ProblemCode): string {
  const { title, remedy = title }: ProblemKind = PROBLEM_CODES[code];
  return remedy;
}

/** Fields that one document names: a body of nonsense must not be answered with many times its length. */
export const FIELDS_NAMED_MAX = 1000;

/** What they come to as JSON: a long path above many of them is told with each. */
export const FIELDS_NAMED_BYTES = 262_144;

/** Rejected fields as they are found. Whoever looks for more stops when it is full: one more is held than is named. */
export class NamedFields {
  readonly errors: FieldError[] = [];
  #characters = 0;

  get isFull(): boolean {
    return this.errors.length > FIELDS_NAMED_MAX || this.#characters > FIELDS_NAMED_BYTES;
  }

  add(error: FieldError): void {
    this.#characters += error.pointer.length;
    this.errors.push(error);
  }
}

/** Builds `request-invalid` from the rejected fields, of which it names as many as an answer may hold. */
export function invalidFields(errors: readonly FieldError[]): Problem {
  const count = errors.length === 1 ? '1 field was rejected' : `${errors.length} fields were rejected`;
  const named = firstNamed(errors);
  const cut = named.length < errors.length ? `; the first ${named.length} are named` : '';
  return new Problem('request-invalid', { detail: `${count}${cut}.`, errors: named });
}

function firstNamed(errors: readonly FieldError[]): readonly FieldError[] {
  let bytes = 0;
  const end = errors.slice(0, FIELDS_NAMED_MAX).findIndex((error) => {
    bytes += Buffer.byteLength(JSON.stringify(error)) + 1;
    return bytes > FIELDS_NAMED_BYTES;
  });
  if (end === 0) return [{ pointer: '#', detail: 'has a field whose path is too long to be told' }];
  return errors.slice(0, end < 0 ? FIELDS_NAMED_MAX : end);
}

/** The document of RFC 9457. Nothing of a 500 is told but where to look for it. */
export function toProblemDocument(problem: Problem, instance: string): Record<string, unknown> {
  const { status, title } = PROBLEM_CODES[problem.code];
  const base = { type: `/problems/${problem.code}`, title, status, instance };
  if (status === 500) return { ...base, detail: 'The manager failed; its log tells more under this instance.' };
  const { detail = detailOf(problem.code), errors, members } = problem.facts;
  return { ...base, ...members, detail, ...(errors ? { errors } : {}) };
}
