import { callAdmin } from './admin-calls.js';
import { planFaults } from './faults/all-faults.js';
import type { SimulatedAgent } from './simulated-agent.js';
import { FAIR_WEATHER } from './simulated-network.js';
import { World, type WorldOptions } from './world.js';

export interface SeedResult {
  readonly steps: number;
  readonly statements: number;
  readonly heartbeats: number;
  readonly virtualMs: number;
  readonly faults: Readonly<Record<string, number>>;
  readonly alertsExpected: number;
  readonly alertsRaised: number;
  readonly traceSha256: string;
}

const START_PATIENCE_MS = 10_000;
const START_STEP_MS = 10;

/** One seed from an empty database to the calm after the storm. */
export async function runSeed(options: WorldOptions): Promise<SeedResult> {
  const world = new World(options);
  try {
    await begin(world);
    world.usualLatencyMs = world.scenario.usualLatencyMs;
    planFaults(world, world.random.fork('faults'));
    await world.passTo(world.scenario.stormMs);
    await calm(world);
    await world.passTo(world.scenario.endMs);
    world.oracle.lookForLost();
    await world.events.close((computerId) => isDrained(world, computerId));
    return resultOf(world);
  } finally {
    await world.database.close();
  }
}

async function begin(world: World): Promise<void> {
  const { scenario, random, timeline, manager } = world;
  manager.start(0);
  while (!manager.life && timeline.now < START_PATIENCE_MS) await world.passTo(timeline.now + START_STEP_MS);
  world.policyIds.push(...(await whileTimePasses(world, createPolicies(world))));
  await world.oracle.committed(new Set(['policies']));
  const computers = await insertComputers(world);
  manager.life?.core.hints.reconsider(computers.map(({ computerId }) => computerId));
  const delays = random.fork('first contacts');
  for (const { computerId } of computers) {
    const agent = world.addAgent(computerId);
    timeline.after(delays.between(0, scenario.tickMs * 5), () => startAgent(world, agent));
  }
  await world.oracle.committed(new Set(['computers']));
  const tick = (): void => {
    world.oracle.lookForMissed();
    timeline.after(scenario.tickMs, tick);
  };
  timeline.after(scenario.tickMs, tick);
}

function startAgent(world: World, agent: SimulatedAgent): void {
  agent.start();
  world.noteHealth(agent);
}

/** What a promise comes to that needs the simulation to go on. */
async function whileTimePasses<T>(world: World, promise: Promise<T>): Promise<T> {
  const outcome: { value?: T; error?: unknown; isThere: boolean } = { isThere: false };
  promise.then(
    (value) => Object.assign(outcome, { value, isThere: true }),
    (error: unknown) => Object.assign(outcome, { error, isThere: true }),
  );
  await world.settle();
  if (!outcome.isThere) throw new Error('Something at the begin waits for time');
  if ('error' in outcome) throw outcome.error;
  return outcome.value as T;
}

async function createPolicies({ manager, scenario }: World): Promise<string[]> {
  const { life } = manager;
  if (!life) throw new Error('The manager does not start');
  const [base] = life.core.cache.policies().values();
  const ids: string[] = [];
  for (const { name, settings } of scenario.policies) {
    const body = { name, parentId: base?.id ?? null, settings };
    const reply = await callAdmin(life, { method: 'post', path: '/policies', body });
    ids.push((reply.body as { id: string }).id);
  }
  return ids;
}

async function insertComputers(world: World): Promise<{ computerId: string; policyId: string }[]> {
  const random = world.random.fork('computers');
  const rows = Array.from({ length: world.options.agents }, () => ({
    computerId: random.uuid(),
    policyId: random.pick(world.policyIds),
  })).sort((a, b) => (a.computerId < b.computerId ? -1 : 1));
  const { observer } = world.options.database;
  const ids = rows.map(({ computerId }) => computerId);
  const at = world.manager.fleet();
  await observer.query(
    `INSERT INTO computers (id, name, kind, policy_id, labels, revision, verdict_rules_fleet_ms, created_fleet_ms,
       enrolled_fleet_ms)
     SELECT id, 'c-' || left(id::text, 8), 'agent', policy, '{}', 1, $3, $3, $3 FROM unnest($1::uuid[], $2::uuid[]) AS new (id, policy)`,
    [ids, rows.map(({ policyId }) => policyId), at],
  );
  await observer.query('INSERT INTO computer_live (computer_id) SELECT id FROM unnest($1::uuid[]) AS id', [ids]);
  await observer.query(
    `INSERT INTO computer_status (computer_id, status, reason, since_fleet_ms)
     SELECT id, 'pending', 'never-seen', $2 FROM unnest($1::uuid[]) AS id`,
    [ids, at],
  );
  return rows;
}

/** Everything goes on as it should, from now on. */
async function calm(world: World): Promise<void> {
  world.trace.note('calm');
  world.database.commitFaults.length = 0;
  if (world.database.isAway) world.bringDatabaseBack();
  if (world.databaseLatencyMs > 0) world.slowDatabase(0);
  if (world.manager.isPaused) world.resumeManager();
  world.manager.start(0);
  for (const agent of world.agents) {
    agent.link.isCut = false;
    agent.link.weather = FAIR_WEATHER;
    agent.resume();
    startAgent(world, agent);
  }
  await world.settle();
}

function isDrained(world: World, computerId: string): boolean {
  const agent = world.agents.find((candidate) => candidate.computerId === computerId);
  return agent !== undefined && agent.isRunning && !agent.hasBacklog;
}

function resultOf({ timeline, database, faults, oracle, trace, heartbeats }: World): SeedResult {
  return {
    steps: timeline.steps,
    statements: database.turnstile.statements,
    heartbeats,
    virtualMs: timeline.now,
    faults: faults.totals(),
    alertsExpected: oracle.alertsExpected,
    alertsRaised: oracle.alertsRaised,
    traceSha256: trace.digest(),
  };
}
