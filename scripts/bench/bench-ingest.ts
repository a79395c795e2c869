import { createSystemClock, type Clock } from '../../lib/clock.js';
import { CleanupStack } from '../../lib/lifecycle.js';
import { readBenchFlags, type BenchFlags } from './bench-flags.js';
import { buildCase, buildResult, exitCodeOf, renderCases, type BenchResult, type Target } from './bench-report.js';
import { setUpStage } from './bench-stage.js';
import { measureCase, type IngestCase } from './ingest-case.js';

/** `npm run bench:ingest`: what a stored and acknowledged heartbeat costs, beside a bare Node server. */

const DEFAULTS = { seconds: 15, agents: 200, cases: ['new', 'kept-https', 'kept-ws'] };
/** Handshakes at once: more only wait for each other on two cores. */
const NEW_WIDTH = 32;
const KEPT_TARGET: Target = { of: 'cpuMs.total', value: 0.085 };
const EXIT_USAGE = 2;

function ingestCases({ seconds, agents, cases }: BenchFlags): readonly IngestCase[] {
  const all: readonly IngestCase[] = [
    { name: 'new', carrier: 'new', width: Math.min(NEW_WIDTH, agents), target: newTarget(), seconds },
    { name: 'kept-https', carrier: 'kept', width: agents, target: KEPT_TARGET, seconds },
    { name: 'kept-ws', carrier: 'ws', width: agents, target: KEPT_TARGET, seconds },
  ];
  return all.filter(({ name }) => cases.length === 0 || cases.includes(name));
}

/** Newer versions of OpenSSL made the handshake cheaper, so that the same work beside it is a larger share. */
function newTarget(): Target {
  const major = Number(process.versions.node.split('.')[0]);
  return { of: 'ratio', value: major >= 24 ? 0.8 : 0.85 };
}

async function bench(flags: BenchFlags, clock: Clock): Promise<BenchResult> {
  const cleanup = new CleanupStack();
  const startedAt = clock.wall();
  try {
    const stage = await setUpStage({ flags, clock, cleanup, say });
    const results = [];
    for (const wanted of ingestCases(flags)) results.push(buildCase(await measureCase(stage, wanted)));
    return buildResult('ingest', startedAt, results);
  } finally {
    await cleanup.unwind();
  }
}

function say(line: string): void {
  process.stderr.write(`${line}\n`);
}

async function main(argv: readonly string[]): Promise<number> {
  const flags = readBenchFlags(argv, DEFAULTS);
  if (!('json' in flags)) {
    for (const fault of flags) say(`bench:ingest: ${fault}`);
    return EXIT_USAGE;
  }
  const result = await bench(flags, createSystemClock());
  if (flags.json) say(renderCases(result.cases));
  process.stdout.write(`${flags.json ? JSON.stringify(result) : renderCases(result.cases)}\n`);
  return exitCodeOf(result, flags);
}

process.exitCode = await main(process.argv.slice(2));
