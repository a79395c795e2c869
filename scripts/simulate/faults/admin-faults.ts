import { toRfc3339 } from '../../../lib/clock.js';
import { editPolicy, moveComputer, openMaintenance, tellPower } from '../admin-calls.js';
import type { ManagerLife } from '../manager-life.js';
import { drawSettings } from '../scenario.js';
import type { SeededRandom } from '../seeded-random.js';
import type { World } from '../world.js';
import { drawDuration, usualIntervalMs, type FaultKind } from './fault-kind.js';

/** Something that people do through the admin API, where the manager takes it. */
function doing(
  name: string,
  weight: number,
  deed: (world: World, random: SeededRandom, life: ManagerLife) => Promise<boolean>,
) {
  const kind: FaultKind = {
    name,
    weight,
    inject(world, random) {
      const { life } = world.manager;
      if (!life || life.process.isPaused) return false;
      deed(world, random, life).catch((error: unknown) =>
        world.options.violations.add('other', `${name} failed: ${String(error)}`),
      );
      return true;
    },
  };
  return kind;
}

const interval = doing('interval-edit', 3, (world, random, life) => {
  const { heartbeatIntervalSeconds } = drawSettings(random, usualIntervalMs(world) * (0.2 + random.fraction()));
  return editPolicy(life, random.pick(world.policyIds), { heartbeatIntervalSeconds });
});

const threshold = doing('threshold-edit', 2, (world, random, life) => {
  const { heartbeatsMissedAllowed, heartbeatGraceSeconds } = drawSettings(random, usualIntervalMs(world));
  const change = random.chance(0.5) ? { heartbeatsMissedAllowed } : { heartbeatGraceSeconds };
  return editPolicy(life, random.pick(world.policyIds), change);
});

const DIRECTIONS = ['bidirectional', 'agentInitiated', 'managerInitiated', 'managerInitiated'] as const;

const direction = doing('direction-switch', 4, (world, random, life) =>
  editPolicy(life, random.pick(world.policyIds), { communicationDirection: random.pick(DIRECTIONS) }),
);

/** Only where the manager dials. */
const switching: FaultKind = {
  ...direction,
  inject: (world, random) => world.scenario.hasDirections && direction.inject(world, random),
};

const moving = doing('move', 2, (world, random, life) =>
  moveComputer(life, random.pick(world.agents).computerId, random.pick(world.policyIds)),
);

const power = doing('power-state', 3, (world, random, life) => {
  const state = random.pick(['stopped', 'stopped', 'running', 'unknown']);
  const untilMs = life.fleetClock.wall() + drawDuration(random, 1000, 6 * usualIntervalMs(world));
  const expiry = random.chance(0.5) ? { expiresAt: toRfc3339(untilMs) } : {};
  return tellPower(life, random.pick(world.agents).computerId, { state, ...expiry });
});

/** Nobody is told of alerts meanwhile; whether there are some does not change. */
const maintenance = doing('maintenance', 1, (world, random, life) => {
  const untilMs = life.fleetClock.wall() + drawDuration(random, 5000, 6 * usualIntervalMs(world));
  return openMaintenance(life, random.pick(world.policyIds), toRfc3339(untilMs));
});

export const ADMIN_FAULTS: readonly FaultKind[] = [interval, threshold, switching, moving, power, maintenance];
