import type { SeededRandom } from '../seeded-random.js';
import type { World } from '../world.js';
import { ADMIN_FAULTS } from './admin-faults.js';
import { AGENT_FAULTS } from './agent-faults.js';
import type { FaultKind } from './fault-kind.js';
import { MANAGER_FAULTS } from './manager-faults.js';

const FAULTS_PER_AGENT = 3;
const FAULTS_OF_MANAGER = 12;

const KINDS: readonly (readonly [readonly FaultKind[], (agents: number) => number])[] = [
  [MANAGER_FAULTS, () => FAULTS_OF_MANAGER],
  [AGENT_FAULTS, (agents) => agents * FAULTS_PER_AGENT],
  [ADMIN_FAULTS, () => FAULTS_OF_MANAGER],
];

/** Arranges the faults of a seed, spread over the storm. */
export function planFaults(world: World, random: SeededRandom): void {
  const { timeline, agents, scenario } = world;
  for (const [kinds, countOf] of KINDS)
    for (let left = countOf(agents.length); left > 0; left -= 1) {
      const kind = drawKind(kinds, random);
      const own = random.fork(`${kind.name} ${left}`);
      timeline.at(timeline.now + random.fraction() * (scenario.stormMs - timeline.now), () => {
        if (!kind.inject(world, own)) return;
        world.faults.count(kind.name);
        world.trace.note(`fault ${kind.name}`);
      });
    }
}

function drawKind(kinds: readonly FaultKind[], random: SeededRandom): FaultKind {
  const total = kinds.reduce((sum, { weight }) => sum + weight, 0);
  let left = random.fraction() * total;
  for (const kind of kinds) {
    left -= kind.weight;
    if (left < 0) return kind;
  }
  throw new RangeError('No fault to draw');
}
