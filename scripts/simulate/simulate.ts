import { createHash } from 'node:crypto';
import { setMaxListeners } from 'node:events';
import { CleanupStack } from '../../lib/lifecycle.js';
import { createLog } from '../../lib/log.js';
import { createSystemClock } from '../../lib/clock.js';
import { openAuthority } from '../../certs/certificate-authority.js';
import { openSecret } from '../../certs/key-store.js';
import { readConfig, type Config } from '../../server/config.js';
import { keyFolder } from '../../server/open-storage.js';
import { BEGIN_MS } from './simulated-machine.js';
import { SeededRandom } from './seeded-random.js';
import { Violations } from './oracle/violations.js';
import { forbidRealTimers } from './real-timers.js';
import { runSeed, type SeedResult } from './run-seed.js';
import { readSimulateFlags, type SimulateFlags } from './simulate-flags.js';
import { openCluster, type SimulationCluster } from './simulation-cluster.js';
import { createOrm, type SimulationOrm } from './simulation-orm.js';

interface SeedOutcome extends Partial<SeedResult> {
  readonly seed: number;
  readonly violations: Violations;
}

interface Means {
  readonly flags: SimulateFlags;
  readonly cluster: SimulationCluster;
  readonly orm: SimulationOrm;
  readonly config: Config;
}

const say = (text: string): void => void process.stderr.write(`${text}\n`);

async function runOne({ flags, cluster, orm, config }: Means, seed: number): Promise<SeedOutcome> {
  const violations = new Violations(({ kind, text }) => say(`seed ${seed}: ${kind}: ${text}`));
  const database = await cluster.createDatabase(`seed_${seed}`);
  const allow = forbidRealTimers((name) => violations.add('other', `${name} waits for real time`));
  try {
    const { agents, sabotage } = flags;
    const log = createLog({ name: 'simulated', level: flags.trace ? 'debug' : 'silent', toStderr: true });
    const show = flags.trace ? { show: say } : {};
    const options = { seed, agents, sabotage, config, database, orm, log, violations, ...show };
    return { ...(await runSeed(options)), seed, violations };
  } catch (error) {
    violations.add('other', `the simulation broke: ${error instanceof Error ? (error.stack ?? error.message) : error}`);
    return { seed, violations };
  } finally {
    allow();
    await database.close();
  }
}

async function runAll(means: Means): Promise<SeedOutcome[]> {
  const { seeds, firstSeed, sabotage, firstFailure } = means.flags;
  const outcomes: SeedOutcome[] = [];
  for (let seed = firstSeed; seed < firstSeed + seeds; seed += 1) {
    const outcome = await runOne(means, seed);
    outcomes.push(outcome);
    const { steps, statements, heartbeats, virtualMs = 0, alertsRaised, violations } = outcome;
    const minutes = Math.round(virtualMs / 60_000);
    say(
      `seed ${seed}: ${minutes} min, ${steps} steps, ${statements} statements, ${heartbeats} heartbeats, ${alertsRaised} alerts, ${violations.total} violations`,
    );
    if (violations.total > 0 && (sabotage !== undefined || firstFailure)) break;
  }
  return outcomes;
}

function summarise(outcomes: readonly SeedOutcome[], { firstSeed }: SimulateFlags, seconds: number): object {
  const sum = (of: (outcome: SeedOutcome) => number | undefined): number =>
    outcomes.reduce((total, outcome) => total + (of(outcome) ?? 0), 0);
  const faults: Record<string, number> = {};
  for (const outcome of outcomes)
    for (const [kind, count] of Object.entries(outcome.faults ?? {})) faults[kind] = (faults[kind] ?? 0) + count;
  const traces = createHash('sha256');
  for (const { seed, traceSha256 } of outcomes) traces.update(`${seed} ${traceSha256}\n`);
  return {
    seeds: outcomes.length,
    firstSeed,
    steps: sum(({ steps }) => steps),
    heartbeats: sum(({ heartbeats }) => heartbeats),
    faults,
    alertsExpected: sum(({ alertsExpected }) => alertsExpected),
    alertsRaised: sum(({ alertsRaised }) => alertsRaised),
    falseAlerts: sum(({ violations }) => violations.count('false-alert')),
    missedAlerts: sum(({ violations }) => violations.count('missed-alert')),
    otherViolations: sum(({ violations }) => violations.count('other')),
    violations: sum(({ violations }) => violations.total),
    failingSeeds: outcomes.filter(({ violations }) => violations.total > 0).map(({ seed }) => seed),
    traceSha256: traces.digest('hex'),
    seconds: Math.round(seconds * 10) / 10,
  };
}

/** The keys that every manager finds: making some takes real time, which no seed may wait for. */
async function prepareKeys(cluster: SimulationCluster): Promise<Config> {
  const { config } = readConfig({ WARDBEAT_DATA_DIR: cluster.folder, WARDBEAT_NODE: 'simulated' });
  const random = new SeededRandom('keys');
  const dir = keyFolder(config);
  await openAuthority({ dir, random, trustDomain: config.trustDomain, clock: { wall: () => BEGIN_MS } });
  openSecret(dir, 'fleet-secret', random);
  return config;
}

async function main(): Promise<number> {
  const flags = readSimulateFlags(process.argv.slice(2));
  if ('length' in flags) {
    say(flags.join('\n'));
    return 2;
  }
  // Every loop of a simulated process listens to the signal that ends it.
  setMaxListeners(0);
  const clock = createSystemClock();
  const startedAt = clock.monotonic();
  const cleanup = new CleanupStack();
  try {
    const cluster = await openCluster(cleanup);
    const orm = await createOrm(cluster);
    const config = await prepareKeys(cluster);
    const outcomes = await runAll({ flags, cluster, orm, config });
    const summary = summarise(outcomes, flags, (clock.monotonic() - startedAt) / 1000);
    process.stdout.write(`${JSON.stringify(summary)}\n`);
    return outcomes.some(({ violations }) => violations.total > 0) ? 1 : 0;
  } finally {
    await cleanup.unwind((name, error) => say(`${name}: ${String(error)}`));
  }
}

process.exitCode = await main();
