import { createSystemClock, type Clock } from '../../lib/clock.js';
import { CleanupStack } from '../../lib/lifecycle.js';
import { signIn, type BenchAdmin } from './bench-enrollment.js';
import { readBenchFlags, type BenchFlags } from './bench-flags.js';
import { buildCase, buildResult, exitCodeOf, renderCases, type BenchResult, type CaseResult } from './bench-report.js';
import { setUpStage, tell, type BenchStage } from './bench-stage.js';
import { cpuBetween, readManagerCpu, readProcessKib } from './cpu-meter.js';
import { measureCase } from './ingest-case.js';
import { percentilesOf, round } from './statistics.js';

/**
 * `npm run bench:channel`: what a report costs over held channels beside a bare `ws` server, how long an edit takes until
 * every agent that holds one has applied it, and what an idle channel costs in memory.
 */

const EDITS = [1000, 5000] as const;
/** Measured too where the fleet is as large. */
const LARGE_EDIT = 10_000;
const EDIT_CASES = [...EDITS, LARGE_EDIT].map((count) => `edit-to-applied-${count}`);
const DEFAULTS = { seconds: 15, agents: 5000, cases: ['message', 'memory-per-agent', ...EDIT_CASES, 'return'] };
/** More only wait for each other on two cores. */
const WIDTH = 200;
/** The whole fleet, within the time in which R29 asks for 95 %. */
const EDIT_WITHIN_MS = 30_000;
const EDIT_ROUNDS = 3;
const SETTLE_MS = 3000;
/** Beyond R10, which asks for 60 s. */
const RETURN_WITHIN_MS = 180_000;
const API_EVERY_MS = 250;
const FIRST_INTERVAL_SECONDS = 3000;
const EXIT_USAGE = 2;

async function bench(flags: BenchFlags, clock: Clock): Promise<BenchResult> {
  const cleanup = new CleanupStack();
  const startedAt = clock.wall();
  const isWanted = (name: string): boolean => flags.cases.length === 0 || flags.cases.includes(name);
  try {
    const stage = await setUpStage({ flags, clock, cleanup, say });
    const results: CaseResult[] = [];
    if (isWanted('memory-per-agent')) results.push(await measureMemory(stage));
    if (isWanted('message')) results.push(await measureMessages(stage, flags));
    const admin = await signIn(stage.manager);
    const edits = stage.agents >= LARGE_EDIT ? [...EDITS, LARGE_EDIT] : EDITS;
    for (const [index, count] of edits.entries())
      if (isWanted(`edit-to-applied-${count}`)) results.push(await measureEdits(stage, admin, { count, index }));
    if (isWanted('return')) results.push(await measureReturn(stage, admin));
    return buildResult('channel', startedAt, results);
  } finally {
    await cleanup.unwind();
  }
}

async function measureMessages(stage: BenchStage, { seconds, agents }: BenchFlags): Promise<CaseResult> {
  const width = Math.min(WIDTH, agents);
  const measured = await measureCase(stage, { name: 'message', carrier: 'ws', width, target: null, seconds });
  for (const side of ['manager', 'bare'] as const) await tell(stage.load, { kind: 'release', side });
  return buildCase(measured);
}

/** Resident memory that N idle channels add, on either side; the smaller the fleet, the more of it is chance. */
async function measureMemory(stage: BenchStage): Promise<CaseResult> {
  const { agents } = stage;
  const manager = await measureSideMemory(stage, 'manager');
  const bare = await measureSideMemory(stage, 'bare');
  const measured = { operations: agents, errors: 0, elapsedMs: 0, cpu: { manager: 0, database: 0 }, latenciesMs: [] };
  const built = buildCase({
    name: 'memory-per-agent',
    agents,
    measured,
    idleMsPerSecond: { manager: 0, database: 0 },
    target: null,
    baseline: null,
  });
  return { ...built, kibEach: manager, baselineKibEach: bare, ratio: manager > 0 ? round(bare / manager) : null };
}

async function measureSideMemory(stage: BenchStage, side: 'manager' | 'bare'): Promise<number> {
  const { load, clock, agents, managerPid, barePid, say } = stage;
  const pid = side === 'manager' ? managerPid : barePid;
  await clock.sleep(SETTLE_MS);
  const before = readProcessKib(pid);
  await tell(load, { kind: 'hold', side, count: agents });
  await clock.sleep(SETTLE_MS);
  const each = round((readProcessKib(pid) - before) / agents);
  say(`memory: ${agents} channels at the ${side} take ${each} KiB each`);
  await tell(load, { kind: 'release', side });
  return each;
}

interface EditCase {
  readonly count: number;
  readonly index: number;
}

/** Latencies are those of each agent, from the begin of the PATCH to the settings in force. */
async function measureEdits(stage: BenchStage, admin: BenchAdmin, { count, index }: EditCase): Promise<CaseResult> {
  const { load, clock, managerPid, say } = stage;
  const held = Math.min(count, stage.agents);
  await tell(load, { kind: 'hold', side: 'manager', count: held });
  const latenciesMs: number[] = [];
  const cpu = { manager: 0, database: 0 };
  const sum = { elapsedMs: 0, errors: 0 };
  for (let done = 0; done < EDIT_ROUNDS; done += 1) {
    await clock.sleep(SETTLE_MS);
    const intervalSeconds = FIRST_INTERVAL_SECONDS + index * EDIT_ROUNDS + done;
    const before = readManagerCpu(managerPid);
    const since = clock.wall();
    await admin.call('PATCH', `/policies/${admin.policyId}/settings`, { heartbeatIntervalSeconds: intervalSeconds });
    const outcome = await tell(load, { kind: 'await-interval', intervalSeconds, since, withinMs: EDIT_WITHIN_MS });
    if (!outcome) throw new Error('The load client answered no outcome');
    const used = cpuBetween(before, readManagerCpu(managerPid));
    cpu.manager += used.manager;
    cpu.database += used.database;
    sum.elapsedMs += outcome.elapsedMs;
    sum.errors += outcome.errors;
    latenciesMs.push(...outcome.latenciesMs);
    for (const sample of outcome.samples) say(sample);
    say(`an edit reached all ${held} agents within ${Math.round(outcome.elapsedMs)} ms`);
  }
  return buildCase({
    name: `edit-to-applied-${count}`,
    agents: held,
    measured: { operations: latenciesMs.length, ...sum, cpu, latenciesMs },
    idleMsPerSecond: { manager: 0, database: 0 },
    target: null,
    baseline: null,
  });
}

/** Everybody lost the channel and comes back at once (R10). */
async function measureReturn(stage: BenchStage, admin: BenchAdmin): Promise<CaseResult> {
  const { agents, load, managerPid, clock, say } = stage;
  await tell(load, { kind: 'release', side: 'manager' });
  await clock.sleep(SETTLE_MS);
  const before = readManagerCpu(managerPid);
  const returning = tell(load, { kind: 'return', count: agents, withinMs: RETURN_WITHIN_MS });
  const apiMs = await timeCalls(stage, admin, returning);
  const outcome = await returning;
  if (!outcome) throw new Error('The load client answered no outcome');
  for (const sample of outcome.samples) say(`return: ${sample}`);
  say(
    `return: the API answered by p99 ${percentilesOf(apiMs).p99Ms} ms; the manager has ${readProcessKib(managerPid)} KiB`,
  );
  const { elapsedMs, errors } = outcome;
  const cpu = cpuBetween(before, readManagerCpu(managerPid));
  const latenciesMs = [...outcome.latenciesMs];
  return buildCase({
    name: 'return',
    agents,
    measured: { operations: latenciesMs.length, errors, elapsedMs, cpu, latenciesMs },
    idleMsPerSecond: { manager: 0, database: 0 },
    target: null,
    baseline: null,
  });
}

async function timeCalls({ clock }: BenchStage, admin: BenchAdmin, work: Promise<unknown>): Promise<number[]> {
  const times: number[] = [];
  let isOver = false;
  const over = (): void => void (isOver = true);
  work.then(over, over);
  while (!isOver) {
    const begun = clock.monotonic();
    await admin.call('GET', '/computers?limit=10');
    times.push(clock.monotonic() - begun);
    await clock.sleep(API_EVERY_MS);
  }
  return times;
}

function say(line: string): void {
  process.stderr.write(`${line}\n`);
}

async function main(argv: readonly string[]): Promise<number> {
  const flags = readBenchFlags(argv, DEFAULTS);
  if (!('json' in flags)) {
    for (const fault of flags) say(`bench:channel: ${fault}`);
    return EXIT_USAGE;
  }
  const result = await bench(flags, createSystemClock());
  if (flags.json) say(renderCases(result.cases));
  process.stdout.write(`${flags.json ? JSON.stringify(result) : renderCases(result.cases)}\n`);
  return exitCodeOf(result, flags);
}

process.exitCode = await main(process.argv.slice(2));
