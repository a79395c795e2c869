/**
 * Preloaded into an agent by `NODE_OPTIONS=--import=…`: kills the process as `kill -9` does at a named point of the road
 * of a command or an event batch. `DRILL_AGENT_FAILPOINT` is `<point>:<n>`: at the n-th time that the point is passed.
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

interface Operation {
  readonly type: 'put' | 'del';
  readonly key: string;
}
type Batch = (this: unknown, operations: readonly Operation[], ...rest: unknown[]) => Promise<void>;

/** What a write is on the road of an event batch; lane `log` alone, which nothing of the agent's own goes by. */
const STEPS: readonly (readonly [
  type: Operation['type'],
  key: string,
  before: AgentFailPoint,
  after: AgentFailPoint,
])[] = [
  ['put', 'r!2', 'records-unwritten', 'records-written'],
  ['put', 's!unanswered', 'report-unkept', 'report-kept'],
  ['del', 'r!2', 'position-unwritten', 'position-written'],
];

const levels = ClassicLevel.prototype as unknown as { batch: Batch };
const batch = levels.batch;
levels.batch = async function (this: unknown, operations, ...rest) {
  const isOfCommands = operations.some(({ key }) => key.startsWith('c!'));
  if (isOfCommands) pass('command-unwritten');
  const steps = STEPS.filter(([type, start]) =>
    operations.some((one) => one.type === type && one.key.startsWith(start)),
  );
  for (const [, , before] of steps) pass(before);
  await batch.call(this, operations, ...rest);
  for (const [, , , after] of steps) pass(after);
  pass(isOfCommands ? 'command-written' : 'state-written');
};

type End = (this: ClientRequest, ...words: unknown[]) => ClientRequest;
const requests = ClientRequest.prototype as unknown as { end: End };
const end = requests.end;
requests.end = function (this: ClientRequest, ...words) {
  pass('report-unsent');
  return end.apply(this, words);
};
