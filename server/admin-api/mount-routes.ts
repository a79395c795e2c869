import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { RequestHandler, Response, Router } from 'express';
import { Problem } from '../../lib/problem.js';
import { admit, type Admission } from './admission.js';
import { toETag } from './if-match.js';
import { readRequest } from './read-request.js';
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
    const caller = await admit(request, route, admission);
    const call = { ...caller, ...(await readRequest(route, request, caller)), headers: request.headers };
    await send(response, route, await route.handle(call as AdminRequest<never, never>));
  };
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
