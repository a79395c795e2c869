import { setMaxListeners } from 'node:events';
import type { Lifecycle } from '../../lib/lifecycle.js';
import type { Log } from '../../lib/log.js';
import { createPeriodic } from '../../lib/periodic.js';
import type { HotTransaction } from '../database/hot-transaction.js';
import type { Sql } from '../database/sql.js';
import type { FleetClock } from '../fleet-clock/fleet-clock.js';
import { chooseTarget } from './dial-target.js';
import type { DialTransport } from './dial-transport.js';
import { createFarewellRepository, type Farewell, type FarewellRepository } from './farewell-repository.js';
import { afterFarewell, isFarewellOver, type FarewellStep } from './farewell-rules.js';

export interface FarewellsDeps {
  readonly clock: Pick<FleetClock, 'fleet' | 'sleep'>;
  readonly log: Log;
  readonly sql: Sql;
  readonly inTransaction: HotTransaction;
  readonly transport: DialTransport;
  /** Reports cannot be judged now: nobody is dialled. */
  readonly isDeaf: () => boolean;
}

const LOOK_EVERY_MS = 2000;
/** Open at once, beside the dials of the lanes. */
const AT_ONCE = 20;

/**
 * Tells agents that only the manager dials that their computer was removed or revoked. Each is dialled once more as
 * ever: its report is refused by the rules of every report, and the call that says so ends the conversation.
 */
export function createFarewells(deps: FarewellsDeps): Lifecycle {
  const { clock, log, isDeaf } = deps;
  const repository = createFarewellRepository(deps);
  const stopping = new AbortController();
  setMaxListeners(0, stopping.signal);
  let isFailing = false;
  const turn = async (): Promise<void> => {
    while (!stopping.signal.aborted && !isDeaf()) {
      const due = await repository.claim(Math.floor(clock.fleet()), AT_ONCE);
      if (due.length === 0) return;
      await Promise.all(due.map((farewell) => attempt(deps, { repository, farewell, signal: stopping.signal })));
    }
  };
  const looking = createPeriodic({
    clock,
    everyMs: LOOK_EVERY_MS,
    async action() {
      try {
        await turn();
        isFailing = false;
      } catch (error) {
        if (!isFailing) log.warn({ err: error }, 'Agents of removed computers cannot be told');
        isFailing = true;
      }
    },
  });
  return {
    start: () => looking.start(),
    async stop() {
      stopping.abort(new Error('the manager stops'));
      await looking.stop();
    },
  };
}

interface Attempt {
  readonly repository: FarewellRepository;
  readonly farewell: Farewell;
  readonly signal: AbortSignal;
}

async function attempt(deps: FarewellsDeps, { repository, farewell, signal }: Attempt): Promise<void> {
  const { clock, log } = deps;
  const { computerId } = farewell;
  const step = isFarewellOver(farewell, clock.fleet())
    ? ({ kind: 'given-up', why: 'nobody could try in time' } as const)
    : await dial(deps, farewell, signal);
  try {
    if (step.kind === 'again') return await repository.putOff(farewell, step);
    await repository.end(farewell);
  } catch (error) {
    return log.debug({ err: error, computerId }, 'The end of a farewell could not be stored');
  }
  if (step.kind === 'told') log.info({ computerId, code: step.code }, 'An agent was told that its computer is no more');
  else log.info({ computerId, why: step.why }, 'An agent could not be told that its computer is no more');
}

async function dial(
  { clock, transport }: FarewellsDeps,
  farewell: Farewell,
  signal: AbortSignal,
): Promise<FarewellStep> {
  const { computerId, address, observedAddress, port } = farewell;
  const target = { address, observedAddress, candidatePort: null, listenerPort: port, settingPort: port };
  const outcome = await transport.dial(computerId, () => chooseTarget(target), signal);
  return afterFarewell(outcome, farewell, clock.fleet());
}
