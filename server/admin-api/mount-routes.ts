import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { Request, RequestHandler, Response, Router } from 'express';
import { invalidFields, Problem, type FieldError } from '../../lib/problem.js';
import { Scope } from '../access/scope.js';
import { admit, type Admission } from './admission.js';
import { isUuid } from './dto.js';
import { readIfMatch, toETag } from './if-match.js';
import { readData, readDto } from './read-dto.js';
import { assertLength, readJsonBody } from './request-body.js';
import type { AdminRequest, Reply, RouteDefinition } from './route.js';

/** Puts every route on the router, and for each path an answer to OPTIONS and to methods it does not have. */
export function mountRoutes(router: Router, routes: readonly RouteDefinition[], admission: Admission): void {
  for (const [path, ofPath] of byPath(routes)) {
    for (const route of ofPath) router[route.method](path, handlerOf(route, admission));
    router.all(path, otherMethods(ofPath));
  }
}

/** Grouped by path; a fixed segment comes before a parameter, so that `/policies/tree` is not taken for an id. */
function byPath(routes: readonly RouteDefinition[]): readonly (readonly [string, RouteDefinition[]])[] {
  const paths = new Map<string, RouteDefinition[]>();
  for (const route of routes) {
    const known = paths.get(route.path) ?? [];
    if (known.some(({ method }) => method === route.method))
      throw new Error(`The route ${route.method} ${route.path} is declared twice`);
    paths.set(route.path, [...known, route]);
  }
  return [...paths].toSorted(([a], [b]) => (sortKey(a) < sortKey(b) ? -1 : 1));
}

function sortKey(path: string): string {
  return path
    .split('/')
    .map((segment) => (segment.startsWith(':') ? '\uffff' : segment))
    .join('/');
}

function otherMethods(routes: readonly RouteDefinition[]): RequestHandler {
  const methods = routes.map(({ method }) => method.toUpperCase());
  const allow = [...new Set([...methods, ...(methods.includes('GET') ? ['HEAD'] : []), 'OPTIONS'])].toSorted();
  return (request, response) => {
    response.setHeader('Allow', allow.join(', '));
    if (request.method !== 'OPTIONS')
      throw new Problem('method-not-allowed', { detail: `Allowed here: ${allow.join(', ')}.` });
    response.status(204).end();
  };
}

function handlerOf(route: RouteDefinition, admission: Admission): RequestHandler {
  return async (request, response) => {
    const admitted = await admit(request, route.permission, admission);
    const call: AdminRequest<unknown, unknown> = {
      ...admitted,
      scope: Scope.all,
      params: paramsOf(request),
      query: queryOf(route, request),
      body: await bodyOf(route, request),
      ifMatch: route.needsIfMatch ? readIfMatch(request.headers['if-match']) : undefined,
      headers: request.headers,
    };
    await send(response, route, await route.handle(call as AdminRequest<never, never>));
  };
}

function paramsOf(request: Request): Readonly<Record<string, string>> {
  const errors: FieldError[] = [];
  const params: Record<string, string> = {};
  for (const [name, value] of Object.entries(request.params)) {
    const text = String(value);
    const isId = name === 'id' || name.endsWith('Id');
    if (isId && !isUuid(text)) errors.push({ pointer: `#/${name}`, detail: 'must be a lower-case UUID' });
    else if (text.includes('\0') || !text.isWellFormed()) errors.push({ pointer: `#/${name}`, detail: 'is malformed' });
    params[name] = text;
  }
  if (errors.length > 0) throw invalidFields(errors);
  return params;
}

function queryOf(route: RouteDefinition, request: Request): unknown {
  assertWellFormedQuery(request);
  const query = { ...request.query };
  if (route.query) return readDto(route.query, query);
  const [unknown] = Object.keys(query);
  if (unknown === undefined) return undefined;
  throw invalidFields([{ pointer: '#', detail: 'this route takes no query parameters' }]);
}

/** The parser would silently put U+FFFD where the bytes are no UTF-8. */
function assertWellFormedQuery({ url }: Request): void {
  const start = url.indexOf('?');
  if (start < 0) return;
  try {
    decodeURIComponent(url.slice(start + 1));
  } catch {
    throw invalidFields([{ pointer: '#', detail: 'the query is not well-formed percent-encoded UTF-8' }]);
  }
}

async function bodyOf({ body }: RouteDefinition, request: Request): Promise<unknown> {
  if (body === undefined) {
    assertLength(request);
    return undefined;
  }
  const value = await readJsonBody(request);
  return typeof body === 'function' ? readDto(body, value) : readData(value);
}

async function send(response: Response, route: RouteDefinition, reply: Reply): Promise<void> {
  const { stream } = reply;
  const pieces = stream?.[Symbol.asyncIterator]();
  // What fails before the first piece is still answered by a problem.
  const first = await pieces?.next();
  response.status(reply.status ?? route.reply.status);
  if (reply.revision !== undefined) response.setHeader('ETag', toETag(reply.revision));
  for (const [name, value] of Object.entries(reply.headers ?? {})) response.setHeader(name, value);
  if (pieces && first) await sendPieces(response, first, pieces);
  else if (reply.body === undefined) response.end();
  else response.json(reply.body);
}

/** No faster than the client reads; a client that goes ends the work. */
async function sendPieces(
  response: Response,
  first: IteratorResult<string>,
  rest: AsyncIterator<string>,
): Promise<void> {
  async function* all(): AsyncGenerator<string> {
    for (let piece = first; !piece.done; piece = await rest.next()) yield piece.value;
  }
  try {
    if (response.req.method === 'HEAD') response.end();
    else await pipeline(Readable.from(all()), response);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ERR_STREAM_PREMATURE_CLOSE') throw error;
  } finally {
    await rest.return?.();
  }
}
