import { Problem } from './problem.js';

/** Nesting deeper than this is refused before anything is parsed. */
export const MAX_JSON_DEPTH = 64;

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const FORBIDDEN_KEYS: ReadonlySet<string> = new Set(['__proto__']);

/**
 * Parses a body that nobody vouches for: well-formed UTF-8, at most 64 levels, no `__proto__` key.
 * Throws `request-invalid` with what is wrong. Strings are checked by the schema that reads them.
 */
export function parseBoundedJson(body: Buffer): unknown {
  assertDepth(body);
  const text = decodeUtf8(body);
  try {
    return text.includes('__proto__') || text.includes('\\u') ? JSON.parse(text, refuseForbidden) : JSON.parse(text);
  } catch (cause) {
    if (cause instanceof Problem) throw cause;
    throw invalid('The body is not JSON (RFC 8259).', cause);
  }
}

function refuseForbidden(key: string, value: unknown): unknown {
  if (FORBIDDEN_KEYS.has(key)) throw invalid(`The key "${key}" is not allowed in a body.`);
  return value;
}

function decodeUtf8(body: Buffer): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(body);
  } catch (cause) {
    throw invalid('The body is not well-formed UTF-8.', cause);
  }
}

function assertDepth(body: Buffer): void {
  let depth = 0;
  let inString = false;
  for (let index = 0; index < body.length; index += 1) {
    const byte = body[index];
    if (inString) {
      if (byte === BACKSLASH) index += 1;
      else if (byte === QUOTE) inString = false;
    } else if (byte === QUOTE) inString = true;
    else if (byte === 0x7b || byte === 0x5b) {
      depth += 1;
      if (depth > MAX_JSON_DEPTH) throw invalid(`The body is nested deeper than ${MAX_JSON_DEPTH} levels.`);
    } else if (byte === 0x7d || byte === 0x5d) depth -= 1;
  }
}

function invalid(detail: string, cause?: unknown): Problem {
  return new Problem('request-invalid', { detail, errors: [{ pointer: '#', detail }] }, cause);
}
