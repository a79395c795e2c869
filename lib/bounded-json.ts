import { repeatedMembers } from './duplicate-keys.js';
import { invalidFields, NamedFields, Problem, type FieldError } from './problem.js';
import { escapePointer } from './schema.js';

/** Nesting deeper than this is refused before anything is parsed. */
export const MAX_JSON_DEPTH = 64;

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;
const FORBIDDEN_KEY = '__proto__';

/**
 * Parses a body that nobody vouches for: well-formed UTF-8, at most 64 levels, no `__proto__` key, no member named twice
 * (RFC 8259 leaves open which of them counts). Throws `request-invalid` with what is wrong. Strings are checked by the schema that reads them.
 */
export function parseBoundedJson(body: Buffer): unknown {
  if (mayBeDeep(body)) assertDepth(body);
  const text = decodeUtf8(body);
  const value = parse(text);
  const forbidden = text.includes(FORBIDDEN_KEY) || text.includes('\\u') ? forbiddenMembers(value) : [];
  if (forbidden.length > 0) throw invalidFields(forbidden);
  const repeated = repeatedMembers(text, value);
  if (repeated.length === 0) return value;
  throw invalidFields([...new Map(repeated.map((error) => [error.pointer, error])).values()]);
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw invalid('The body is not JSON (RFC 8259).', cause);
  }
}

/** The members of that name, as many as one document names. JSON.parse makes own members of them, which are no prototypes. */
function forbiddenMembers(parsed: unknown): readonly FieldError[] {
  const found = new NamedFields();
  const names: string[] = [];
  const search = (value: unknown): void => {
    if (typeof value !== 'object' || value === null) return;
    for (const [name, member] of Object.entries(value)) {
      if (found.isFull) return;
      names.push(name);
      if (name === FORBIDDEN_KEY)
        found.add({
          pointer: ['#', ...names.map(escapePointer)].join('/'),
          detail: 'is a name that is not allowed in a body',
        });
      else search(member);
      names.pop();
    }
  };
  search(parsed);
  return found.errors;
}

const UTF8 = new TextDecoder('utf-8', { fatal: true });

function decodeUtf8(body: Buffer): string {
  try {
    return UTF8.decode(body);
  } catch (cause) {
    throw invalid('The body is not well-formed UTF-8.', cause);
  }
}

/** No body is deeper than it has opening brackets, in strings or not; searching them is much faster than reading it. */
function mayBeDeep(body: Buffer): boolean {
  let openings = 0;
  for (const bracket of [OPEN_BRACE, OPEN_BRACKET])
    for (let at = body.indexOf(bracket); at !== -1; at = body.indexOf(bracket, at + 1)) {
      openings += 1;
      if (openings > MAX_JSON_DEPTH) return true;
    }
  return false;
}

function assertDepth(body: Buffer): void {
  let depth = 0;
  for (let index = 0; index < body.length; index += 1) {
    const byte = body[index];
    if (byte === QUOTE) index = endOfString(body, index);
    else if (byte === OPEN_BRACE || byte === OPEN_BRACKET) {
      depth += 1;
      if (depth > MAX_JSON_DEPTH) throw invalid(`The body is nested deeper than ${MAX_JSON_DEPTH} levels.`);
    } else if (byte === CLOSE_BRACE || byte === CLOSE_BRACKET) depth -= 1;
  }
}

/** The index of the quote that ends the string begun at `start`, or the body's end. */
function endOfString(body: Buffer, start: number): number {
  for (let index = start + 1; index < body.length; index += 1) {
    if (body[index] === BACKSLASH) index += 1;
    else if (body[index] === QUOTE) return index;
  }
  return body.length;
}

function invalid(detail: string, cause?: unknown): Problem {
  return new Problem('request-invalid', { detail, errors: [{ pointer: '#', detail }] }, cause);
}
