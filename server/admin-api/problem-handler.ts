import type { ErrorRequestHandler, Response } from 'express';
import { errorFacts } from '../../lib/error-facts.js';
import type { Log } from '../../lib/log.js';
import { Problem, toProblemDocument } from '../../lib/problem.js';
import { isTransientDatabaseError } from '../database/database-errors.js';

const RETRY_AFTER_SECONDS = 2;

/** The only place of the admin API that turns an error into a response, and the only one that logs it. */
export function problemHandler(log: Log): ErrorRequestHandler {
  // oxlint-disable-next-line max-params -- Express knows an error handler by its four parameters
  return (error: unknown, request, response, _next) => {
    const problem = toProblem(error);
    const requestId = requestIdOf(response);
    logProblem(log, problem, { requestId, method: request.method, path: request.path });
    if (response.headersSent) {
      response.destroy();
      return;
    }
    sendProblem(response, problem);
  };
}

/** Sends the document of RFC 9457 without logging; for answers that are no failure of ours, such as readiness. */
export function sendProblem(response: Response, problem: Problem): void {
  const { retryAfterSeconds } = problem.facts;
  if (retryAfterSeconds !== undefined) response.setHeader('Retry-After', String(Math.max(1, retryAfterSeconds)));
  if (problem.status === 401) response.setHeader('WWW-Authenticate', 'Bearer realm="wardbeat"');
  const body = Buffer.from(JSON.stringify(toProblemDocument(problem, `urn:uuid:${requestIdOf(response)}`)));
  response.statusCode = problem.status;
  response.setHeader('Content-Type', 'application/problem+json');
  response.setHeader('Content-Length', body.length);
  response.end(body);
}

export function requestIdOf(response: Response): string {
  return String(response.locals['requestId'] ?? '');
}

export function toProblem(error: unknown): Problem {
  if (error instanceof Problem) return error;
  if (isTransientDatabaseError(error))
    return new Problem(
      'unavailable',
      { detail: 'The database is not available.', retryAfterSeconds: RETRY_AFTER_SECONDS },
      error,
    );
  if (isRouterFault(error))
    return new Problem('request-invalid', { detail: 'The path is not well-formed percent-encoded UTF-8.' }, error);
  return new Problem('internal', {}, error);
}

/** Express refuses a path that cannot be decoded with an error that carries status 400. */
function isRouterFault(error: unknown): boolean {
  return error instanceof URIError || (error as { status?: unknown } | null)?.status === 400;
}

interface RequestFacts {
  readonly requestId: string;
  readonly method: string;
  readonly path: string;
}

function logProblem(log: Log, problem: Problem, request: RequestFacts): void {
  const fields = { ...request, code: problem.code, status: problem.status };
  if (problem.status === 500) log.error({ ...fields, err: errorFacts(problem.cause ?? problem) }, 'request failed');
  else if (problem.status === 503)
    log.warn({ ...fields, err: errorFacts(problem.cause ?? problem) }, 'request not served at this moment');
  else log.debug({ ...fields, detail: problem.facts.detail }, 'request refused');
}
