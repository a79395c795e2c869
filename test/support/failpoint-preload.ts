/**
 * Preloaded into a manager by `NODE_OPTIONS=--import=…`: kills the process as `kill -9` does at a named point, so that
 * the product needs no such hooks. `DRILL_FAILPOINT` is `<point>:<n>`: at the n-th time that the point is passed.
 */
import { ServerResponse } from 'node:http';
import pg from 'pg';
import { AGENT_PATHS } from '../../protocol/protocol-version.js';
import type { FailPoint } from './fail-points.js';

type Query = (this: pg.Client, ...words: unknown[]) => unknown;

const [point, count] = (process.env['DRILL_FAILPOINT'] ?? '').split(':') as [FailPoint, string];
let left = Number(count);

function pass(here: FailPoint): void {
  if (here !== point) return;
  left -= 1;
  if (left === 0) process.kill(process.pid, 'SIGKILL');
}

const textOf = (query: unknown): string =>
  typeof query === 'string' ? query : String((query as { readonly text?: unknown } | null)?.text ?? '');

const isIngest = (client: pg.Client): boolean =>
  (client as unknown as { readonly connectionParameters?: { readonly application_name?: string } }).connectionParameters
    ?.application_name === 'wardbeat-ingest';

const query = pg.Client.prototype.query as unknown as Query;
pg.Client.prototype.query = function (this: pg.Client, ...words: unknown[]) {
  if (!isIngest(this)) return query.apply(this, words);
  const isCommit = textOf(words[0]) === 'COMMIT';
  if (isCommit) pass('commit-unsent');
  const answer = query.apply(this, words);
  if (isCommit) setImmediate(() => pass('commit-sent'));
  if (!(answer instanceof Promise)) return answer;
  return answer.then((result: unknown) => {
    pass(isCommit ? 'committed' : 'mid-batch');
    return result;
  });
} as unknown as typeof pg.Client.prototype.query;

const end = ServerResponse.prototype.end as (...words: unknown[]) => ServerResponse;
ServerResponse.prototype.end = function (this: ServerResponse, ...words: unknown[]): ServerResponse {
  if (this.req.url !== AGENT_PATHS.heartbeat) return end.apply(this, words);
  pass('reply-unsent');
  this.once('finish', () => pass('replied'));
  return end.apply(this, words);
} as typeof ServerResponse.prototype.end;
