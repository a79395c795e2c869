import { withDeadline } from '../../agent/deadline.js';
import type { Carrier } from '../../agent/direction-rules.js';
import type { ManagerConnection } from '../../agent/transport/tls-connection.js';
import { ManagerRefusal, TransportError, type TransportCode } from '../../agent/transport/transport-error.js';
import type { Problem } from '../../lib/problem.js';
import type { Orders } from '../../protocol/heartbeat-messages.js';
import type { FaultCounter } from './fault-counter.js';
import type { SeededRandom } from './seeded-random.js';
import type { SimulatedProcess } from './simulated-machine.js';
import type { Timeline } from './timeline.js';

export type Reply = Orders | Problem | TransportCode;

/** A request as it arrives at the manager's machine. */
export interface Delivery {
  readonly computerId: string;
  readonly body: string;
  readonly dialledBy: 'agent' | 'manager';
  readonly reply: (reply: Reply) => void;
}

/** What the network does to one agent's messages. */
export interface LinkWeather {
  readonly latencyMs: number;
  readonly loss: number;
  readonly duplication: number;
  /** Share of messages that come very late, so that later ones overtake them. */
  readonly delay: number;
}

export const FAIR_WEATHER: LinkWeather = { latencyMs: 40, loss: 0, duplication: 0, delay: 0 };

const LONGEST_DELAY_MS = 20_000;

/** The way between one agent and the manager. */
export class Link {
  weather: LinkWeather = FAIR_WEATHER;
  /** Nothing comes through. */
  isCut = false;
  readonly #timeline: Timeline;
  readonly #random: SeededRandom;
  readonly #faults: FaultCounter;

  constructor(deps: { timeline: Timeline; random: SeededRandom; faults: FaultCounter }) {
    this.#timeline = deps.timeline;
    this.#random = deps.random;
    this.#faults = deps.faults;
  }

  get isClean(): boolean {
    return !this.isCut && this.weather === FAIR_WEATHER;
  }

  /** Carries a message there, late, twice or not at all; `arrive` may be called more than once. */
  carry(arrive: () => void, options: { readonly mayDouble: boolean }): void {
    const { weather } = this;
    if (this.isCut || this.#random.chance(weather.loss)) return this.#faults.count(this.isCut ? 'cut' : 'loss');
    this.#timeline.after(this.#latency(), () => this.isCut || arrive());
    if (!options.mayDouble || !this.#random.chance(weather.duplication)) return;
    this.#faults.count('duplicate');
    this.#timeline.after(this.#latency() + this.#random.between(0, LONGEST_DELAY_MS), () => this.isCut || arrive());
  }

  #latency(): number {
    const usual = 1 + this.#random.between(0, this.weather.latencyMs);
    if (!this.#random.chance(this.weather.delay)) return usual;
    this.#faults.count('delay');
    return usual + this.#random.between(500, LONGEST_DELAY_MS);
  }
}

export interface WireDeps {
  readonly computerId: string;
  readonly link: Link;
  readonly process: SimulatedProcess;
  readonly note: (text: string) => void;
  /** Whether a connection can be made now; a manager that is paused accepts and says nothing. */
  readonly isReachable: () => boolean;
  readonly deliver: (delivery: Delivery) => void;
}

/** The agent's transport: connections on a link. */
export function createWire(deps: WireDeps): {
  connect(milliseconds: number, signal: AbortSignal): Promise<ManagerConnection>;
  rebuild(): void;
} {
  return {
    rebuild: () => undefined,
    connect: (milliseconds, outer) => {
      deps.note(`attempt ${deps.computerId}`);
      return withDeadline({ clock: deps.process.clock, milliseconds, signal: outer }, (signal) => dial(deps, signal));
    },
  };
}

/** Over and back; nobody says anything where a message is lost. */
function dial(deps: WireDeps, signal: AbortSignal): Promise<ManagerConnection> {
  const { link, process } = deps;
  return attempt<ManagerConnection>(signal, (resolve, reject) => {
    const arrived = (): void => {
      const settle = deps.isReachable()
        ? () => resolve(connectionOf(deps, { kind: 'dial' }))
        : () => reject(new TransportError('refused', 'connect ECONNREFUSED'));
      link.carry(() => process.deliver(settle), { mayDouble: false });
    };
    link.carry(arrived, { mayDouble: false });
  });
}

/** A connection, whoever opened it, on which reports go to the manager. */
export function connectionOf(deps: Omit<WireDeps, 'isReachable' | 'note'>, carrier: Carrier): ManagerConnection {
  const isDial = carrier.kind === 'dial';
  return {
    managerUrl: isDial ? 'https://manager.simulation:4120' : undefined,
    carrier,
    warning: undefined,
    close: () => undefined,
    post: (_path, body, signal) =>
      attempt<unknown>(signal, (resolve, reject) => {
        const settle = (reply: Reply): void => {
          const outcome = outcomeOf(reply);
          deps.link.carry(
            () => deps.process.deliver(() => ('body' in outcome ? resolve(outcome.body) : reject(outcome.error))),
            { mayDouble: false },
          );
        };
        const { computerId } = deps;
        const delivery = { computerId, body, dialledBy: isDial ? 'agent' : 'manager', reply: settle } as const;
        deps.link.carry(() => deps.deliver(delivery), { mayDouble: isDial });
      }),
  };
}

/** Ends with the signal where nothing else ends it. */
function attempt<T>(
  signal: AbortSignal,
  begin: (resolve: (value: T) => void, reject: (error: unknown) => void) => void,
): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    if (signal.aborted) return reject(signal.reason as Error);
    signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
    begin(resolve, reject);
  });
}

function outcomeOf(reply: Reply): { readonly body: unknown } | { readonly error: Error } {
  if (typeof reply === 'string') return { error: new TransportError(reply, `simulated: ${reply}`) };
  if (!('code' in reply)) return { body: JSON.parse(JSON.stringify(reply)) };
  const { retryAfterSeconds, errors, detail = reply.code } = reply.facts;
  return {
    error: new ManagerRefusal(reply.code, reply.status, {
      detail,
      ...(retryAfterSeconds === undefined ? {} : { retryAfterMs: retryAfterSeconds * 1000 }),
      ...(errors ? { pointers: errors.map(({ pointer }) => pointer) } : {}),
    }),
  };
}
