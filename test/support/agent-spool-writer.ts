import { createSystemClock } from '../../lib/clock.js';
import { createSystemRandom } from '../../lib/random.js';
import { DurableStore } from '../../agent/spool/durable-store.js';
import { Spool } from '../../agent/spool/spool.js';

// A process for tests to kill: appends to the spool named by its argument and prints one line per answered append.
const clock = createSystemClock();
const { store } = await DurableStore.open(process.argv[2] ?? '', clock);
const spool = await Spool.open({ store, clock, random: createSystemRandom(), maxMegabytes: 16 });
for (;;) {
  const { last } = await spool.append('log', { kind: 'log', severity: 'info', message: 'entry' });
  process.stdout.write(`${last}\n`);
}
