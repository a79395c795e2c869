import type { Request } from 'express';
import { parseBoundedJson } from '../../lib/bounded-json.js';
import { invalidFields, Problem, type FieldError } from '../../lib/problem.js';
import { escapePointer, isPlainObject, isSound } from '../../lib/schema.js';
import { isUuid } from './dto.js';
import { assertIfMatch, judgeIfMatch } from './if-match.js';
import { pageFaults, type PlainPageQuery } from './page.js';
import { judgeData, judgeDto, type Judged } from './read-dto.js';
import { readJsonBody, readUnexpectedBody } from './request-body.js';
import type { AdminRequest, RefusedRequest, RouteDefinition } from './route.js';

export type ReadParts = Pick<AdminRequest<unknown, unknown>, 'params' | 'query' | 'body' | 'ifMatch'>;

/**
 * Reads path, query, If-Match and body. Throws `request-invalid` with every bad field of all of them, what the route's
 * own `check` finds in the sound ones included; `if-match-required` where nothing else is wrong.
 */
export async function readRequest(
  route: RouteDefinition,
  request: Request,
  caller: Pick<AdminRequest, 'actor' | 'scope'>,
): Promise<ReadParts> {
  const ifMatchHeader = route.needsIfMatch ? request.headers['if-match'] : undefined;
  const params = judgeParams(request);
  const query = judgeQuery(route, request);
  const body = await judgeBody(route, request);
  const ifMatch = judgeIfMatch(ifMatchHeader);
  const errors = [params, query, body, ifMatch].flatMap((part) => part.errors);
  if (errors.length > 0) {
    const parts = { params: params.value, query: query.value, body: body.value };
    throw invalidFields([...errors, ...(await checked(route, { ...caller, ...parts }, errors))]);
  }
  if (route.needsIfMatch) assertIfMatch(ifMatchHeader);
  return { params: params.value, query: query.value, body: body.value, ifMatch: ifMatch.value };
}

/** With more than so many nobody mends a request by hand; to compare each with each would take long. */
const FIELDS_CHECKED_MAX = 200;

async function checked(
  { check }: RouteDefinition,
  request: Omit<RefusedRequest, 'isSound'>,
  errors: readonly FieldError[],
): Promise<readonly FieldError[]> {
  // Where the whole is refused, nothing in it is sound.
  const isHopeless = errors.length > FIELDS_CHECKED_MAX || errors.some(({ pointer }) => pointer === '#');
  if (!check || isHopeless) return [];
  const found = await check({
    ...request,
    query: soundPart(request.query ?? {}, '#', errors),
    body: soundPart(request.body ?? {}, '#', errors),
    isSound: (...pointers: readonly string[]) => pointers.every((pointer) => isSound(errors, pointer)),
  } as RefusedRequest<never, never>);
  return found.filter(({ pointer }) => isSound(errors, pointer));
}

/** The value without what the errors name. */
function soundPart(value: unknown, pointer: string, errors: readonly FieldError[]): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
  const kept = Object.entries(value).flatMap(([key, part]): readonly [string, unknown][] => {
    const at = `${pointer}/${escapePointer(key)}`;
    if (isSound(errors, at)) return [[key, part]];
    return isPlainObject(part) && !errors.some((error) => error.pointer === at)
      ? [[key, soundPart(part, at, errors)]]
      : [];
  });
  return Object.fromEntries(kept);
}

function judgeParams(request: Request): Judged<Readonly<Record<string, string>>> {
  const errors: FieldError[] = [];
  const params: Record<string, string> = {};
  for (const [name, value] of Object.entries(request.params)) {
    const text = String(value);
    const isId = name === 'id' || name.endsWith('Id');
    if (isId && !isUuid(text)) errors.push({ pointer: `#/${name}`, detail: 'must be a lower-case UUID' });
    else if (text.includes('\0') || !text.isWellFormed()) errors.push({ pointer: `#/${name}`, detail: 'is malformed' });
    else params[name] = text;
  }
  return { value: params, errors };
}

function judgeQuery(route: RouteDefinition, request: Request): Judged<unknown> {
  if (!isWellFormedQuery(request))
    return { value: {}, errors: [{ pointer: '#', detail: 'the query is not well-formed percent-encoded UTF-8' }] };
  const query = { ...request.query };
  if (route.query) {
    const { value, errors } = judgeDto(route.query, query);
    const ofPage = route.list ? pageFaults(value as PlainPageQuery, route.list, errors) : [];
    return { value, errors: [...errors, ...ofPage] };
  }
  const errors = Object.keys(query).map((name) => ({
    pointer: `#/${escapePointer(name)}`,
    detail: 'is not known here: this route takes no query parameters',
  }));
  return { value: undefined, errors };
}

/** The parser would silently put U+FFFD where the bytes are no UTF-8. */
function isWellFormedQuery({ url }: Request): boolean {
  const start = url.indexOf('?');
  if (start < 0) return true;
  try {
    decodeURIComponent(url.slice(start + 1));
    return true;
  } catch {
    return false;
  }
}

async function judgeBody({ body }: RouteDefinition, request: Request): Promise<Judged<unknown>> {
  if (body === undefined) return judgeNoBody(await readUnexpectedBody(request));
  const read = await judging(() => readJsonBody(request));
  if (read.errors.length > 0) return read;
  if (typeof body === 'function') return judgeDto(body, read.value);
  const { value, errors } = judgeData(read.value);
  if (!isPlainObject(read.value)) return { value, errors };
  const further = body.faultsOf?.(value, '#') ?? [];
  return { value, errors: [...errors, ...further.filter(({ pointer }) => isSound(errors, pointer))] };
}

/** Whoever sends something takes it for heard; an empty object says nothing. */
async function judgeNoBody(bytes: Buffer | undefined): Promise<Judged<undefined>> {
  if (!bytes) return { value: undefined, errors: [] };
  const { value, errors } = await judging(async () => parseBoundedJson(bytes));
  const none = 'this route takes no body';
  if (errors.length > 0 || !isPlainObject(value)) return { value: undefined, errors: [{ pointer: '#', detail: none }] };
  const detail = `is not known here: ${none}`;
  return {
    value: undefined,
    errors: Object.keys(value).map((key) => ({ pointer: `#/${escapePointer(key)}`, detail })),
  };
}

/** What throws `request-invalid` as a value with its errors. */
async function judging(read: () => Promise<unknown>): Promise<Judged<unknown>> {
  try {
    return { value: await read(), errors: [] };
  } catch (error) {
    if (error instanceof Problem && error.code === 'request-invalid' && error.facts.errors)
      return { value: undefined, errors: error.facts.errors };
    throw error;
  }
}
