import { createSecureContext } from 'node:tls';
import { TLS_OPTIONS } from '../../certs/tls-profile.js';
import { createSystemClock, readBootId } from '../../lib/clock.js';
import { CleanupStack } from '../../lib/lifecycle.js';
import { createSystemRandom } from '../../lib/random.js';
import type { AbuseKind, AbuseOutcome, AbuseRequest } from './abuse-client.js';
import { createBenchAgent, type BenchAgent } from './bench-agent.js';
import { startBenchChild, type BenchChild } from './bench-child.js';
import { enrollFleet, type BenchIdentity } from './bench-enrollment.js';
import { openLoadConnection, type LoadConnection, type LoadTarget } from './load-connection.js';
import { startManagerChild } from './manager-child.js';
import { percentilesOf, round } from './statistics.js';

/** `npm run bench:abuse`: how long quiet agents wait for an answer, alone and beside one that abuses its certificate. */

const AGENTS = 50;
const BEAT_MS = 500;
const ROUND_MS = 8000;
const ROUNDS = 3;
const WARM_UP_MS = 4000;
const KINDS: readonly AbuseKind[] = ['events', 'channel-events', 'connections'];
const MOST_GROWTH = 0.2;

const clock = createSystemClock();

interface QuietAgent {
  readonly agent: BenchAgent;
  readonly connection: LoadConnection;
  readonly offsetMs: number;
}

interface Stage {
  readonly quiet: readonly QuietAgent[];
  readonly abuser: BenchChild;
  readonly request: Omit<AbuseRequest, 'kind' | 'milliseconds'>;
}

async function main(): Promise<void> {
  const cleanup = new CleanupStack();
  try {
    const stage = await setUp(cleanup);
    await beatFor(stage, WARM_UP_MS);
    for (const kind of KINDS) await compare(stage, kind);
  } finally {
    await cleanup.unwind();
  }
}

async function setUp(cleanup: CleanupStack): Promise<Stage> {
  const random = createSystemRandom();
  const manager = await startManagerChild({ clock, adminPassword: random.bytes(16).toString('hex') });
  cleanup.push('manager', () => manager.stop());
  const { identities, rootPem } = await enrollFleet(manager, AGENTS + 1);
  const abuser = startBenchChild('abuse-client');
  cleanup.push('abuser', () => abuser.stop());
  const target = { host: '127.0.0.1', port: Number(new URL(manager.agentUrl).port) };
  const [identity, ...others] = identities;
  if (!identity) throw new Error('Nobody is enrolled');
  const quiet = await Promise.all(others.map((one, index) => open(one, { rootPem, target, index })));
  cleanup.push('connections', () => quiet.forEach(({ connection }) => connection.close()));
  return { quiet, abuser, request: { identity, rootPem, target } };
}

async function open(
  { computerId, keyPem, certPem }: BenchIdentity,
  { rootPem, target, index }: { readonly rootPem: string; readonly target: LoadTarget; readonly index: number },
): Promise<QuietAgent> {
  const context = createSecureContext({ ...TLS_OPTIONS, key: keyPem, cert: certPem, ca: rootPem });
  const random = createSystemRandom();
  return {
    agent: createBenchAgent({ clock, random, bootId: readBootId(), computerId, index: index + 1 }),
    connection: await openLoadConnection(context, target),
    offsetMs: (index * BEAT_MS) / AGENTS,
  };
}

async function compare(stage: Stage, kind: AbuseKind): Promise<void> {
  const alone: number[] = [];
  const beside: number[] = [];
  for (let done = 1; done <= ROUNDS; done += 1) {
    const before = await beatFor(stage, ROUND_MS);
    const abusing = stage.abuser.ask<AbuseOutcome>({ ...stage.request, kind, milliseconds: ROUND_MS });
    const during = await beatFor(stage, ROUND_MS);
    const { accepted, refused } = await abusing;
    say(
      `${kind}, round ${done}: ${tell(before)} alone, ${tell(during)} beside (${accepted} taken, ${refused} refused)`,
    );
    alone.push(...before);
    beside.push(...during);
  }
  const growth = percentilesOf(beside).p99Ms / percentilesOf(alone).p99Ms - 1;
  const verdict = growth < MOST_GROWTH ? 'met' : 'not met';
  say(
    `${kind}: ${tell(alone)} alone, ${tell(beside)} beside: p99 ${round(growth * 100)} % more (target < 20): ${verdict}`,
  );
}

/** Every agent heartbeats on its own connection, evenly spread; answers the latencies. Throws where one is refused. */
async function beatFor({ quiet }: Stage, milliseconds: number): Promise<number[]> {
  const begun = clock.monotonic();
  const latencies: number[] = [];
  const beat = async ({ agent, connection, offsetMs }: QuietAgent): Promise<void> => {
    for (let due = begun + offsetMs; due < begun + milliseconds; due += BEAT_MS) {
      await clock.sleep(due - clock.monotonic());
      const asked = clock.monotonic();
      agent.follow(await connection.exchange(agent.nextReport()));
      latencies.push(clock.monotonic() - asked);
    }
  };
  await Promise.all(quiet.map(beat));
  return latencies;
}

function tell(latencies: readonly number[]): string {
  const { p50Ms, p99Ms } = percentilesOf(latencies);
  return `p50 ${p50Ms} p99 ${p99Ms} ms`;
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

await main();
