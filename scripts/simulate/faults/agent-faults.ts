import { LANES } from '../../../protocol/heartbeat-messages.js';
import type { SeededRandom } from '../seeded-random.js';
import type { SimulatedAgent } from '../simulated-agent.js';
import { FAIR_WEATHER, type LinkWeather } from '../simulated-network.js';
import type { World } from '../world.js';
import { drawDuration, usualIntervalMs, type FaultKind } from './fault-kind.js';

const LONGEST_INTERVALS = 7;

function drawAbsence(world: World, random: SeededRandom): number {
  return drawDuration(random, 500, LONGEST_INTERVALS * usualIntervalMs(world));
}

function change(world: World, agent: SimulatedAgent, action: () => void): void {
  action();
  world.noteHealth(agent);
}

/** Does something to one agent, and undoes it later. */
function passing(name: string, weight: number, act: (agent: SimulatedAgent, random: SeededRandom) => () => void) {
  const kind: FaultKind = {
    name,
    weight,
    inject(world, random) {
      const agent = random.pick(world.agents);
      if (!agent.isRunning || agent.isPaused) return false;
      const absenceMs = drawAbsence(world, random);
      world.trace.note(`${name} ${agent.computerId} for ${absenceMs}`);
      change(world, agent, () => {
        const undo = act(agent, random);
        world.timeline.after(absenceMs, () => change(world, agent, undo));
      });
      return true;
    },
  };
  return kind;
}

function drawWeather(random: SeededRandom): LinkWeather {
  return {
    latencyMs: random.between(1, 2000),
    loss: random.fraction() * 0.5,
    duplication: random.fraction() * 0.4,
    delay: random.fraction() * 0.3,
  };
}

const killed = passing('agent-kill', 3, (agent) => {
  agent.kill();
  return () => agent.start();
});

const withoutPower = passing('agent-power', 2, (agent) => {
  agent.losePower();
  return () => agent.start();
});

const paused = passing('agent-pause', 2, (agent) => {
  agent.pause();
  return () => agent.resume();
});

const leaving = passing('goodbye', 2, (agent, random) => {
  agent.leave(random.pick(['shutdown', 'suspended', 'restart', 'update']));
  return () => agent.start();
});

const cutOff = passing('partition', 4, ({ link }) => {
  link.isCut = true;
  return () => void (link.isCut = false);
});

const badWeather = passing('bad-network', 5, ({ link }, random) => {
  link.weather = drawWeather(random);
  return () => void (link.weather = FAIR_WEATHER);
});

const stepped: FaultKind = {
  name: 'agent-clock-step',
  weight: 2,
  inject(world, random) {
    random.pick(world.agents).machine.stepWall(drawDuration(random, 600, 86_400_000) * random.pick([1, -1]));
    return true;
  },
};

/** A site is cut off. */
const siteCutOff: FaultKind = {
  name: 'site-partition',
  weight: 1,
  inject(world, random) {
    const site = world.agents.filter(() => random.chance(0.5));
    const setCut = (isCut: boolean): void => {
      for (const agent of site) change(world, agent, () => void (agent.link.isCut = isCut));
    };
    setCut(true);
    world.timeline.after(drawAbsence(world, random), () => setCut(false));
    return true;
  },
};

const eventful: FaultKind = {
  name: 'event-burst',
  weight: 4,
  inject(world, random) {
    const agent = random.pick(world.agents);
    const lane = random.pick(LANES);
    for (let left = random.between(1, 8); left > 0; left -= 1) agent.emit(lane);
    return agent.isRunning;
  },
};

export const AGENT_FAULTS: readonly FaultKind[] = [
  killed,
  withoutPower,
  paused,
  leaving,
  cutOff,
  badWeather,
  stepped,
  siteCutOff,
  eventful,
];
