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

/** Builds `request-invalid` from the rejected fields. */
export function invalidFields(errors: readonly FieldError[]): Problem {
  const count = errors.length === 1 ? '1 field was rejected' : `${errors.length} fields were rejected`;
  const cut = errors.length > FIELDS_NAMED_MAX ? `; the first ${FIELDS_NAMED_MAX} are named` : '';
  return new Problem('request-invalid', { detail: `${count}${cut}.`, errors: errors.slice(0, FIELDS_NAMED_MAX) });
}

/** The document of RFC 9457. Nothing of a 500 is told but where to look for it. */
export function toProblemDocument(problem: Problem, instance: string): Record<string, unknown> {
  const { status, title } = PROBLEM_CODES[problem.code];
  const base = { type: `/problems/${problem.code}`, title, status, instance };
  if (status === 500) return { ...base, detail: 'The manager failed; its log tells more under this instance.' };
  const { detail = detailOf(problem.code), errors, members } = problem.facts;
  return { ...base, ...members, detail, ...(errors ? { errors } : {}) };
}
