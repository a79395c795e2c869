import { editPolicy } from '../admin-calls.js';
import { drawSettings } from '../scenario.js';
import type { SeededRandom } from '../seeded-random.js';
import type { World } from '../world.js';
import { usualIntervalMs, type FaultKind } from './fault-kind.js';

function editing(name: string, weight: number, draw: (world: World, random: SeededRandom) => object): FaultKind {
  return {
    name,
    weight,
    inject(world, random) {
      const { life } = world.manager;
      if (!life || life.process.isPaused) return false;
      const policyId = random.pick(world.policyIds);
      editPolicy(life, policyId, draw(world, random)).catch((error: unknown) =>
        world.options.violations.add('other', `an edit failed: ${String(error)}`),
      );
      return true;
    },
  };
}

const interval = editing('interval-edit', 3, (world, random) => {
  const { heartbeatIntervalSeconds } = drawSettings(random, usualIntervalMs(world) * (0.2 + random.fraction()));
  return { heartbeatIntervalSeconds };
});

const threshold = editing('threshold-edit', 2, (world, random) => {
  const { heartbeatsMissedAllowed, heartbeatGraceSeconds } = drawSettings(random, usualIntervalMs(world));
  return random.chance(0.5) ? { heartbeatsMissedAllowed } : { heartbeatGraceSeconds };
});

const direction = editing('direction-switch', 4, (_world, random) => ({
  communicationDirection: random.pick(['bidirectional', 'agentInitiated', 'managerInitiated', 'managerInitiated']),
}));

const switching: FaultKind = {
  ...direction,
  inject: (world, random) => world.scenario.hasDirections && direction.inject(world, random),
};

export const ADMIN_FAULTS: readonly FaultKind[] = [interval, threshold, switching];
