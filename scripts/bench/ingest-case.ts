import type { Clock } from '../../lib/clock.js';
import type { BenchChild } from './bench-child.js';
import type { CaseMeasurement, Tally, Target } from './bench-report.js';
import { cpuBetween, readManagerCpu, readProcessMs, type CpuReading } from './cpu-meter.js';
import type { Carrier, LoadReply, LoadSlice, Side, SliceOutcome } from './load-messages.js';

export interface IngestStage {
  readonly clock: Clock;
  readonly load: BenchChild;
  readonly barePid: number;
  readonly managerPid: number;
  readonly agents: number;
  readonly say: (line: string) => void;
}

export interface IngestCase {
  readonly name: string;
  readonly carrier: Carrier;
  /** Exchanges at once. */
  readonly width: number;
  readonly target: Target | null;
  /** Of load on each side. */
  readonly seconds: number;
}

const SLICE_MS = 3000;
const WARM_UP_MS = 2500;
/** What an exchange leaves to do (closing connections, writing WAL behind) is done by then. */
const SETTLE_MS = 300;

/** Runs one slice of load and answers what it came to; the caller reads CPU times around it. */
export async function runSlice(stage: IngestStage, slice: Omit<LoadSlice, 'kind'>): Promise<SliceOutcome> {
  const reply = await stage.load.ask<LoadReply>({ kind: 'run', ...slice });
  await stage.clock.sleep(SETTLE_MS);
  if (!reply.ok) throw new Error(`The load client failed: ${reply.error}`);
  if (!reply.outcome) throw new Error('The load client answered no outcome');
  for (const sample of reply.outcome.samples) stage.say(`${slice.side} ${slice.carrier}: ${sample}`);
  return reply.outcome;
}

/**
 * Measures manager and bare server in turn, in slices, so that what the machine does beside hits both. Work that the
 * manager and its database put off is counted too: what they use while the bare server runs, less what they use idle.
 */
export async function measureCase(stage: IngestStage, wanted: IngestCase): Promise<CaseMeasurement> {
  const { name, carrier, width, target } = wanted;
  const slices = Math.max(1, Math.round((wanted.seconds * 1000) / SLICE_MS));
  const milliseconds = (wanted.seconds * 1000) / slices;
  const sides: Record<Side, SideCount> = { manager: newCount(), bare: newCount() };
  for (const side of ['manager', 'bare'] as const)
    sides[side].errors += (await runSlice(stage, { side, carrier, width, milliseconds: WARM_UP_MS })).errors;
  const idlePerMs = await measureIdle(stage);
  for (let done = 0; done < slices; done += 1) {
    await countManagerSlice(stage, sides.manager, { side: 'manager', carrier, width, milliseconds });
    await countBareSlice(stage, sides, { slice: { side: 'bare', carrier, width, milliseconds }, idlePerMs });
    stage.say(`${name}: slice ${done + 1} of ${slices}`);
  }
  const measured = toTally(sides.manager);
  const baseline = { name: carrier === 'ws' ? 'bare-ws' : 'bare-https', tally: toTally(sides.bare) };
  const idleMsPerSecond = { manager: idlePerMs.manager * 1000, database: idlePerMs.database * 1000 };
  return { name, agents: stage.agents, measured, idleMsPerSecond, target, baseline };
}

interface SideCount {
  errors: number;
  elapsedMs: number;
  readonly cpu: { manager: number; database: number };
  readonly late: { manager: number; database: number };
  readonly latenciesMs: number[];
}

function newCount(): SideCount {
  return {
    errors: 0,
    elapsedMs: 0,
    cpu: { manager: 0, database: 0 },
    late: { manager: 0, database: 0 },
    latenciesMs: [],
  };
}

async function countManagerSlice(stage: IngestStage, count: SideCount, slice: Omit<LoadSlice, 'kind'>): Promise<void> {
  const before = readManagerCpu(stage.managerPid);
  add(count, await runSlice(stage, slice));
  const used = cpuBetween(before, readManagerCpu(stage.managerPid));
  count.cpu.manager += used.manager;
  count.cpu.database += used.database;
}

async function countBareSlice(
  stage: IngestStage,
  sides: Record<Side, SideCount>,
  { slice, idlePerMs }: { readonly slice: Omit<LoadSlice, 'kind'>; readonly idlePerMs: CpuReading },
): Promise<void> {
  const begun = stage.clock.monotonic();
  const before = { bare: readProcessMs(stage.barePid), manager: readManagerCpu(stage.managerPid) };
  add(sides.bare, await runSlice(stage, slice));
  sides.bare.cpu.manager += readProcessMs(stage.barePid) - before.bare;
  const beside = cpuBetween(before.manager, readManagerCpu(stage.managerPid));
  const elapsed = stage.clock.monotonic() - begun;
  sides.manager.late.manager += beside.manager - idlePerMs.manager * elapsed;
  sides.manager.late.database += beside.database - idlePerMs.database * elapsed;
}

function add(count: SideCount, outcome: SliceOutcome): void {
  count.errors += outcome.errors;
  count.elapsedMs += outcome.elapsedMs;
  for (const latency of outcome.latenciesMs) count.latenciesMs.push(latency);
}

function toTally({ errors, elapsedMs, cpu, late, latenciesMs }: SideCount): Tally {
  return {
    operations: latenciesMs.length,
    errors,
    elapsedMs,
    cpu: { manager: cpu.manager + Math.max(0, late.manager), database: cpu.database + Math.max(0, late.database) },
    latenciesMs,
  };
}

const IDLE_MS = 4000;

/** CPU milliseconds per millisecond of a manager that nobody asks anything. */
async function measureIdle({ clock, managerPid, say }: IngestStage): Promise<CpuReading> {
  // The flush of what the warm-up left comes first.
  await clock.sleep(IDLE_MS / 2);
  const before = readManagerCpu(managerPid);
  await clock.sleep(IDLE_MS);
  const used = cpuBetween(before, readManagerCpu(managerPid));
  say(`idle: manager ${used.manager} ms, database ${used.database} ms of CPU in ${IDLE_MS / 1000} s`);
  return { manager: used.manager / IDLE_MS, database: used.database / IDLE_MS };
}
