import { Problem } from '../../lib/problem.js';
import type { Judged } from './read-dto.js';

const REVISION_TAG = /^"(0|[1-9][0-9]{0,14})"$/;

/** The revision that `If-Match` names; undefined when it is absent, an error when it is malformed. */
export function judgeIfMatch(header: string | undefined): Judged<number | undefined> {
  if (header === undefined) return { value: undefined, errors: [] };
  const [, revision] = REVISION_TAG.exec(header.trim()) ?? [];
  if (revision !== undefined) return { value: Number(revision), errors: [] };
  const detail = 'must be one ETag as a GET answered it, such as "7"';
  return { value: undefined, errors: [{ pointer: '#/If-Match', detail }] };
}

/** Throws `if-match-required`. */
export function assertIfMatch(header: string | undefined): void {
  if (header !== undefined) return;
  throw new Problem('if-match-required', { detail: 'Send If-Match with the ETag of the GET, such as "7".' });
}

export function toETag(revision: number): string {
  return `"${revision}"`;
}
