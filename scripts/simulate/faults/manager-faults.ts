import { drawDuration, usualIntervalMs, type FaultKind } from './fault-kind.js';
import type { SeededRandom } from '../seeded-random.js';
import type { World } from '../world.js';

const LONGEST_INTERVALS = 5;
const MOST_PORT_DELAY_MS = 3000;
const MOST_STATEMENTS = 60;

function drawAbsence(world: World, random: SeededRandom): number {
  return drawDuration(random, 500, LONGEST_INTERVALS * usualIntervalMs(world));
}

function startLater(world: World, random: SeededRandom): void {
  const delayMs = random.between(0, MOST_PORT_DELAY_MS);
  world.timeline.after(drawAbsence(world, random), () => world.manager.start(delayMs));
}

const killed: FaultKind = {
  name: 'manager-kill',
  weight: 3,
  inject(world, random) {
    if (!world.manager.isUp) return false;
    world.manager.kill();
    startLater(world, random);
    return true;
  },
};

/** Killed between two statements, wherever that is. */
const killedInside: FaultKind = {
  name: 'manager-crash',
  weight: 3,
  inject(world, random) {
    const { life } = world.manager;
    if (!life) return false;
    life.pool.killAfterStatements = random.between(1, MOST_STATEMENTS);
    life.process.onDeath(() => startLater(world, random));
    return true;
  },
};

/** The whole machine: it comes back under another boot id, with whatever its wall clock then says. */
const withoutPower: FaultKind = {
  name: 'manager-power',
  weight: 2,
  inject(world, random) {
    if (!world.manager.isUp) return false;
    world.manager.kill();
    world.manager.machine.reboot();
    if (random.chance(0.5)) world.manager.machine.stepWall(random.between(-600_000, 600_000));
    startLater(world, random);
    return true;
  },
};

const stopped: FaultKind = {
  name: 'manager-stop',
  weight: 1,
  inject(world, random) {
    const { life } = world.manager;
    if (!life) return false;
    life.process.onDeath(() => startLater(world, random));
    world.manager.stop();
    return true;
  },
};

const paused: FaultKind = {
  name: 'manager-pause',
  weight: 3,
  inject(world, random) {
    if (!world.manager.life || world.manager.isPaused) return false;
    world.pauseManager();
    world.timeline.after(drawAbsence(world, random), () => world.resumeManager());
    return true;
  },
};

const suspended: FaultKind = {
  name: 'manager-suspend',
  weight: 1,
  inject(world, random) {
    if (!world.manager.life || world.manager.isPaused) return false;
    const ms = drawAbsence(world, random);
    world.pauseManager();
    world.timeline.after(ms, () => {
      world.manager.machine.noteSuspend(ms);
      world.resumeManager();
    });
    return true;
  },
};

const stepped: FaultKind = {
  name: 'manager-clock-step',
  weight: 2,
  inject(world, random) {
    const ms = drawDuration(random, 600, 7_200_000) * random.pick([1, -1]);
    world.manager.machine.stepWall(ms);
    return true;
  },
};

const databaseAway: FaultKind = {
  name: 'database-away',
  weight: 3,
  inject(world, random) {
    if (world.database.isAway) return false;
    world.takeDatabaseAway();
    world.timeline.after(drawAbsence(world, random), () => world.bringDatabaseBack());
    return true;
  },
};

const databaseSlow: FaultKind = {
  name: 'database-slow',
  weight: 1,
  inject(world, random) {
    if (world.databaseLatencyMs > 0) return false;
    world.slowDatabase(drawDuration(random, 5, 3000));
    world.timeline.after(drawAbsence(world, random), () => world.slowDatabase(0));
    return true;
  },
};

const commitUnknown: FaultKind = {
  name: 'commit-unknown',
  weight: 4,
  inject(world, random) {
    world.database.commitFaults.push(random.pick(['stored-unsaid', 'lost']));
    return true;
  },
};

export const MANAGER_FAULTS: readonly FaultKind[] = [
  killed,
  killedInside,
  withoutPower,
  stopped,
  paused,
  suspended,
  stepped,
  databaseAway,
  databaseSlow,
  commitUnknown,
];
