import { availableParallelism } from 'node:os';
import { toRfc3339 } from '../../lib/clock.js';
import { percentilesOf, round, type Percentiles } from './statistics.js';

/** CPU milliseconds per operation. */
export interface CpuMs {
  readonly manager: number;
  readonly database: number;
  readonly total: number;
}

export interface Baseline {
  readonly name: string;
  readonly perSecond: number;
  readonly cpuMs: CpuMs;
}

/** Which figure of the case its `target` is about: a ratio at least, or a total at most. */
export type TargetKind = 'ratio' | 'cpuMs.total';

export interface Target {
  readonly of: TargetKind;
  readonly value: number;
}

/** CPU milliseconds in each second in which nobody asks anything; part of `cpuMs` all the same. */
export type IdleMsPerSecond = Pick<CpuMs, 'manager' | 'database'>;

export interface CaseResult extends Percentiles {
  readonly name: string;
  readonly agents: number;
  readonly operations: number;
  readonly errors: number;
  readonly perSecond: number;
  readonly cpuMs: CpuMs;
  readonly idleMsPerSecond: IdleMsPerSecond;
  readonly baseline: Baseline | null;
  /** CPU of the baseline's operation as a share of ours; null without a baseline. */
  readonly ratio: number | null;
  readonly target: number | null;
  readonly targetOf: TargetKind | null;
  readonly met: boolean;
  /** Of a case about memory: resident KiB for each agent, and for each of the baseline. */
  readonly kibEach?: number;
  readonly baselineKibEach?: number;
}

/** The one JSON object that a bench prints. */
export interface BenchResult {
  readonly bench: string;
  /** The version of Node without the leading "v". */
  readonly node: string;
  readonly cores: number;
  readonly startedAt: string;
  readonly cases: readonly CaseResult[];
}

/** What was counted on one side of a case, over all its slices. */
export interface Tally {
  readonly operations: number;
  readonly errors: number;
  /** Milliseconds in which operations were asked for. */
  readonly elapsedMs: number;
  /** CPU milliseconds in all. */
  readonly cpu: { readonly manager: number; readonly database: number };
  readonly latenciesMs: readonly number[];
}

export interface CaseMeasurement {
  readonly name: string;
  readonly agents: number;
  readonly measured: Tally;
  readonly idleMsPerSecond: IdleMsPerSecond;
  readonly baseline: { readonly name: string; readonly tally: Tally } | null;
  readonly target: Target | null;
}

export function buildCase(measurement: CaseMeasurement): CaseResult {
  const { name, agents, measured, idleMsPerSecond, baseline, target } = measurement;
  const { cpuMs, perSecond } = ratesOf(measured);
  const beside = baseline && { name: baseline.name, ...ratesOf(baseline.tally) };
  const ratio = beside && ratioOf(beside.cpuMs, cpuMs);
  const errors = measured.errors + (baseline?.tally.errors ?? 0);
  return {
    name,
    agents,
    operations: measured.operations,
    errors,
    perSecond,
    cpuMs,
    idleMsPerSecond,
    ...percentilesOf(measured.latenciesMs),
    baseline: beside,
    ratio,
    ...(target ? { target: target.value, targetOf: target.of } : { target: null, targetOf: null }),
    met: errors === 0 && measured.operations > 0 && reaches(target, ratio, cpuMs.total),
  };
}

function ratioOf(baseline: CpuMs, own: CpuMs): number | null {
  return own.total > 0 ? round(baseline.total / own.total) : null;
}

function reaches(target: Target | null, ratio: number | null, totalMs: number): boolean {
  if (target === null) return true;
  return target.of === 'ratio' ? ratio !== null && ratio >= target.value : totalMs <= target.value;
}

function ratesOf(tally: Tally): { perSecond: number; cpuMs: CpuMs } {
  const perSecond = tally.elapsedMs > 0 ? round((tally.operations * 1000) / tally.elapsedMs) : 0;
  return { perSecond, cpuMs: cpuPerOperation(tally) };
}

function cpuPerOperation({ operations, cpu }: Tally): CpuMs {
  const per = (milliseconds: number): number => (operations > 0 ? round(milliseconds / operations) : 0);
  return { manager: per(cpu.manager), database: per(cpu.database), total: per(cpu.manager + cpu.database) };
}

export function buildResult(bench: string, startedAt: number, cases: readonly CaseResult[]): BenchResult {
  return { bench, node: process.versions.node, cores: availableParallelism(), startedAt: toRfc3339(startedAt), cases };
}

/** 0 measured, 1 after any operation error, 3 for an unmet target where targets are checked. */
export function exitCodeOf({ cases }: BenchResult, { check }: { readonly check: boolean }): 0 | 1 | 3 {
  if (cases.some(({ errors, operations }) => errors > 0 || operations === 0)) return 1;
  return check && cases.some(({ met }) => !met) ? 3 : 0;
}

/** Lines for a human. */
export function renderCases(cases: readonly CaseResult[]): string {
  return cases.map(renderCase).join('\n');
}

function renderCase(result: CaseResult): string {
  const { name, agents, operations, errors, perSecond, p50Ms, p95Ms, p99Ms, baseline, kibEach } = result;
  if (kibEach !== undefined)
    return `${name}: ${kibEach} KiB for each of ${agents} agents, beside ${result.baselineKibEach} of a bare server`;
  const lines = [
    `${name}: ${operations} operations by ${agents} agents, ${errors} errors, ${perSecond}/s, ${cpuText(result.cpuMs)}`,
    `  latency p50 ${p50Ms} ms, p95 ${p95Ms} ms, p99 ${p99Ms} ms`,
  ];
  if (baseline) lines.push(`  beside ${baseline.name}: ${baseline.perSecond}/s, ${cpuText(baseline.cpuMs)}`);
  if (result.ratio !== null) lines.push(`  ratio ${result.ratio}${targetText(result)}`);
  return lines.join('\n');
}

function cpuText({ manager, database, total }: CpuMs): string {
  return `CPU ${total} ms each (manager ${manager}, database ${database})`;
}

function targetText({ target, targetOf, met }: CaseResult): string {
  if (target === null) return '';
  const bound = targetOf === 'ratio' ? `ratio at least ${target}` : `CPU at most ${target} ms`;
  return `; target ${bound}: ${met ? 'met' : 'not met'}`;
}
