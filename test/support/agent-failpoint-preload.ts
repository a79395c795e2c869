/**
 * Preloaded into an agent by `NODE_OPTIONS=--import=…`: kills the process as `kill -9` does at a named point of a command's
 * road. `DRILL_AGENT_FAILPOINT` is `<point>:<n>`: at the n-th time that the point is passed.
 */
import { ClientRequest } from 'node:http';
import { ClassicLevel } from 'classic-level';
import type { AgentFailPoint } from './command-drill.js';

const [point, count] = (process.env['DRILL_AGENT_FAILPOINT'] ?? '').split(':') as [AgentFailPoint, string];
let left = Number(count);

function pass(here: AgentFailPoint): void {
  if (here !== point) return;
  left -= 1;
  if (left === 0) process.kill(process.pid, 'SIGKILL');
}

type Batch = (this: unknown, operations: readonly { readonly key: string }[], ...rest: unknown[]) => Promise<void>;

const levels = ClassicLevel.prototype as unknown as { batch: Batch };
const batch = levels.batch;
levels.batch = async function (this: unknown, operations, ...rest) {
  const isOfCommands = operations.some(({ key }) => key.startsWith('c!'));
  if (isOfCommands) pass('command-unwritten');
  await batch.call(this, operations, ...rest);
  pass(isOfCommands ? 'command-written' : 'state-written');
};

type End = (this: ClientRequest, ...words: unknown[]) => ClientRequest;
const requests = ClientRequest.prototype as unknown as { end: End };
const end = requests.end;
requests.end = function (this: ClientRequest, ...words) {
  pass('report-unsent');
  return end.apply(this, words);
};
