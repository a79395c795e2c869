import type { Orders } from '../../protocol/heartbeat-messages.js';
import type { Problem } from '../../lib/problem.js';
import { hostUpOf } from '../../policies/diagnosis-rules.js';
import { DialFailure } from '../../server/dials/dial-failure.js';
import type { DialTarget } from '../../server/dials/dial-target.js';
import type { DialOutcome, ListenerTransport } from '../../server/dials/dial-transport.js';
import { inert } from '../../server/inert.js';
import type { SimulatedAgent } from './simulated-agent.js';
import type { SimulatedProcess } from './simulated-machine.js';
import type { Delivery } from './simulated-network.js';

export interface SimulatedDialsDeps {
  readonly process: SimulatedProcess;
  readonly agentOf: (computerId: string) => SimulatedAgent | undefined;
  readonly deliver: (delivery: Delivery) => void;
  readonly note: (text: string) => void;
}

/** What was said on one dial. */
interface Said {
  reports: number;
  news: number;
  problem: Problem | undefined;
}

const TOTAL_MS = 10_000;
const OWN_RETRY_MS = 2000;
/** Refusals that say nothing of the agent. */
const OWN_PROBLEMS: ReadonlySet<string> = new Set(['unavailable', 'internal', 'too-many-requests']);

/** Dials over the agents' links: what server/dials/dial-transport.ts does, without names, addresses and TLS. */
export function createSimulatedDials(deps: SimulatedDialsDeps): ListenerTransport {
  return {
    probe: inert('probe'),
    renew: inert('renew'),
    async dial(computerId, target, signal) {
      deps.note(`dial ${computerId}`);
      const said: Said = { reports: 0, news: 0, problem: undefined };
      const timer = new AbortController();
      const late = deps.process.clock.sleep(TOTAL_MS, timer.signal).then(
        () => failed('timeout'),
        () => new Promise<never>(() => undefined),
      );
      const cut = new Promise<DialOutcome>((resolve) => {
        const own = (): void => resolve({ kind: 'own', retryAfterMs: OWN_RETRY_MS });
        signal.addEventListener('abort', own, { once: true });
      });
      const outcome = await Promise.race([converse(deps, { computerId, target, said }), late, cut]);
      timer.abort();
      return outcome.kind === 'failed' && said.reports + (said.problem ? 1 : 0) > 0 ? outcomeOf(said) : outcome;
    },
  };
}

interface Dial {
  readonly computerId: string;
  readonly target: () => DialTarget;
  readonly said: Said;
}

function converse(deps: SimulatedDialsDeps, { computerId, target, said }: Dial): Promise<DialOutcome> {
  const agent = deps.agentOf(computerId);
  return new Promise((resolve) => {
    const port = portOf(target);
    if (port === undefined || !agent) return resolve(failed('no-address'));
    const { link } = agent;
    const deliver = (delivery: Delivery): void => {
      const reply = (answer: Parameters<Delivery['reply']>[0]): void => {
        listen(said, answer);
        delivery.reply(answer);
      };
      deps.deliver({ ...delivery, reply });
    };
    const ended = (how: 'refused' | 'busy' | 'over'): void => {
      const outcome = how === 'over' ? outcomeOf(said) : how === 'busy' ? ({ kind: 'busy' } as const) : failed(how);
      link.carry(() => deps.process.deliver(() => resolve(outcome)), { mayDouble: false });
    };
    link.carry(() => agent.answer(port, deliver, ended), { mayDouble: false });
  });
}

function portOf(target: () => DialTarget): number | undefined {
  try {
    return target().port;
  } catch (error) {
    if (error instanceof DialFailure) return undefined;
    throw error;
  }
}

function listen(said: Said, answer: Parameters<Delivery['reply']>[0]): void {
  if (typeof answer === 'string') return;
  said.problem = 'code' in answer ? answer : undefined;
  if ('code' in answer) return;
  said.reports += 1;
  said.news += isNews(answer) ? 1 : 0;
}

function isNews({ effect }: Orders): boolean {
  return effect === 'accepted';
}

function failed(code: 'refused' | 'timeout' | 'no-address' | 'protocol'): DialOutcome & { readonly kind: 'failed' } {
  return {
    kind: 'failed',
    failure: new DialFailure(code, `simulated: ${code}`),
    hostUp: hostUpOf(code, code === 'protocol'),
  };
}

function outcomeOf({ reports, news, problem }: Said): DialOutcome {
  if (reports > 0) return { kind: 'answered', isNews: news > 0 };
  if (!problem) return failed('protocol');
  if (!OWN_PROBLEMS.has(problem.code)) return { ...failed('protocol'), told: problem.code };
  return { kind: 'own', retryAfterMs: (problem.facts.retryAfterSeconds ?? 0) * 1000 || OWN_RETRY_MS };
}
