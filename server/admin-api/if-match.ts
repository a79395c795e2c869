import { invalidFields, Problem } from '../../lib/problem.js';

const REVISION_TAG = /^"(0|[1-9][0-9]{0,14})"$/;

/** The revision that `If-Match` names. Throws `if-match-required` when it is absent, `request-invalid` when malformed. */
export function readIfMatch(header: string | undefined): number {
  if (header === undefined)
    throw new Problem('if-match-required', { detail: 'Send If-Match with the ETag of the GET, such as "7".' });
  const [, revision] = REVISION_TAG.exec(header.trim()) ?? [];
  if (revision === undefined)
    throw invalidFields([{ pointer: '#/If-Match', detail: 'must be one ETag as a GET answered it, such as "7"' }]);
  return Number(revision);
}

export function toETag(revision: number): string {
  return `"${revision}"`;
}
