import { parentPort, workerData } from 'node:worker_threads';
import { createSystemClock } from '../../lib/clock.js';
import { dialOnce } from './self-dial.js';
import { TURN_MS, type DialAnswer, type DialOrder, type WorkerInput } from './self-dialler.js';

/** A thread beside the event loop: it counts its own turns, and dials the agent port as an agent does. */
const clock = createSystemClock();
const turns = new Int32Array((workerData as WorkerInput).turns);
/** A thread that turned later than this did not run, and says nothing of others who kept it waiting. */
const LATE_MS = 1000;
let turnedAt = clock.monotonic();
let lateAt = Number.NEGATIVE_INFINITY;

function noteTurn(): void {
  const now = clock.monotonic();
  if (now - turnedAt > LATE_MS) lateAt = now;
  turnedAt = now;
}

async function turn(): Promise<never> {
  for (;;) {
    await clock.sleep(TURN_MS);
    noteTurn();
    Atomics.add(turns, 0, 1);
  }
}

async function dial({ id, target, timeoutMs }: DialOrder): Promise<void> {
  const begunAt = clock.monotonic();
  const fault = await dialOnce(clock, target, timeoutMs);
  noteTurn();
  const answer: DialAnswer = {
    id,
    fault,
    tookMs: clock.monotonic() - begunAt,
    isVoid: fault !== null && lateAt >= begunAt,
  };
  parentPort?.postMessage(answer);
}

parentPort?.on('message', (order: DialOrder) => void dial(order));
await turn();
