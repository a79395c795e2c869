import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { certificatesOf, writePem } from '../../certs/pem.js';
import { exportKey, readKeyAndCertificate } from '../../certs/key-store.js';
import { createSystemClock, type Clock } from '../../lib/clock.js';
import { CleanupStack } from '../../lib/lifecycle.js';
import { createSystemRandom } from '../../lib/random.js';
import { startBenchChild, type BenchChild } from './bench-child.js';
import { enrollFleet, type BenchFleet } from './bench-enrollment.js';
import { readBenchFlags, type BenchFlags } from './bench-flags.js';
import { buildCase, buildResult, exitCodeOf, renderCases, type BenchResult, type Target } from './bench-report.js';
import { measureCase, runSlice, type IngestCase, type IngestStage } from './ingest-case.js';
import type { BareServerOptions, LoadReply, LoadRequest, Side } from './load-messages.js';
import { startManagerChild, type ManagerChild } from './manager-child.js';

/** `npm run bench:ingest`: what a stored and acknowledged heartbeat costs, beside a bare Node server. */

const DEFAULTS = { seconds: 15, agents: 200, cases: ['new', 'kept-https'] };
/** Handshakes at once: more only wait for each other on two cores. */
const NEW_WIDTH = 32;
/** Every agent sends its facts and takes the settings; what comes after is steady. */
const FIRST_MS = 1500;
const HOST = '127.0.0.1';
const EXIT_USAGE = 2;

function ingestCases({ seconds, agents, cases }: BenchFlags): readonly IngestCase[] {
  const all: readonly IngestCase[] = [
    { name: 'new', carrier: 'new', width: Math.min(NEW_WIDTH, agents), target: newTarget(), seconds },
    { name: 'kept-https', carrier: 'kept', width: agents, target: { of: 'cpuMs.total', value: 0.085 }, seconds },
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
    const stage = await setUp(flags, clock, cleanup);
    const results = [];
    for (const wanted of ingestCases(flags)) results.push(buildCase(await measureCase(stage, wanted)));
    return buildResult('ingest', startedAt, results);
  } finally {
    await cleanup.unwind();
  }
}

async function setUp(flags: BenchFlags, clock: Clock, cleanup: CleanupStack): Promise<IngestStage> {
  const { agents, profileDir } = flags;
  if (profileDir !== undefined) mkdirSync(profileDir, { recursive: true });
  const adminPassword = createSystemRandom().bytes(16).toString('hex');
  const manager = await startManagerChild({ clock, adminPassword, profileDir });
  cleanup.push('manager', () => manager.stop());
  const fleet = await enrollFleet(manager, agents);
  say(`${agents} agents are enrolled`);
  const [load, bare] = [startBenchChild('load-client'), startBenchChild('bare-server')];
  cleanup.push('helpers', () => [load, bare].forEach((child) => child.stop()));
  const stage = { clock, load, barePid: bare.pid, managerPid: manager.pid, agents, say };
  await tell(load, { kind: 'prepare', fleet });
  await tell(load, aim('manager', Number(new URL(manager.agentUrl).port)));
  const first = await runSlice(stage, { side: 'manager', carrier: 'kept', width: agents, milliseconds: FIRST_MS });
  const { reportBytes, answerBytes } = first;
  say(`a report has ${reportBytes} bytes, its answer ${answerBytes}`);
  await tell(load, aim('bare', await bare.ask<number>({ ...bareIdentity(manager, fleet), answerBytes })));
  return stage;
}

function aim(side: Side, port: number): LoadRequest {
  return { kind: 'aim', side, target: { host: HOST, port } };
}

async function tell(load: BenchChild, request: LoadRequest): Promise<void> {
  const reply = await load.ask<LoadReply>(request);
  if (!reply.ok) throw new Error(`The load client failed: ${reply.error}`);
}

/** The manager's own key and leaf, and the chain that it sends: the handshakes are the same, byte for byte in size. */
function bareIdentity(
  { dataDir }: ManagerChild,
  { identities, rootPem }: BenchFleet,
): Omit<BareServerOptions, 'answerBytes'> {
  const own = readKeyAndCertificate(join(dataDir, 'keys', 'manager.pem'));
  const [, intermediateDer] = certificatesOf(identities[0]?.certPem ?? '');
  if (!own || !intermediateDer) throw new Error('The manager has no key, or an agent no chain');
  const leafPem = writePem('CERTIFICATE', own.certificateDer);
  const certPem = leafPem + writePem('CERTIFICATE', intermediateDer) + rootPem;
  return { keyPem: exportKey(own.key), certPem, rootPem };
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
