import type { OpenedFleetClock } from '../../server/fleet-clock/open-fleet-clock.js';
import { ManagerLife, toProblem, type LifeOptions, type ReceivedReport } from './manager-life.js';
import type { Orders } from '../../protocol/heartbeat-messages.js';
import type { Machine, SimulatedProcess } from './simulated-machine.js';
import { BEGIN_MS } from './simulated-machine.js';
import type { Delivery, Reply } from './simulated-network.js';

export interface HostHooks {
  readonly onReport: (received: ReceivedReport) => void;
  readonly onAnswer: (computerId: string, reply: Reply) => Promise<void>;
  /** The agent port accepts from this fleet instant on. */
  readonly onOpened: (fleet: number) => void;
  /** It does no more. */
  readonly onClosed: (fleet: number) => void;
  readonly onBroken: (error: unknown) => void;
}

export interface HostOptions extends Omit<LifeOptions, 'process' | 'random'> {
  readonly machine: Machine;
  readonly randomOf: (life: number) => LifeOptions['random'];
  readonly hooks: HostHooks;
}

const START_AGAIN_MS = 2000;

/** The manager's machine: at most one life at a time, which is started again when it cannot start. */
export class ManagerHost {
  readonly machine: Machine;
  readonly #options: HostOptions;
  #process: SimulatedProcess | undefined;
  #life: ManagerLife | undefined;
  #lives = 0;
  /** Fleet instant less virtual time, of the last life that knew. */
  #fleetBase = BEGIN_MS;
  readonly #unanswered = new Set<(reply: Reply) => void>();

  constructor(options: HostOptions) {
    this.machine = options.machine;
    this.#options = options;
  }

  /** The life that listens, if one does. */
  get life(): ManagerLife | undefined {
    return this.#life?.isListening && !this.#life.process.isDead ? this.#life : undefined;
  }

  get isUp(): boolean {
    return this.#process !== undefined && !this.#process.isDead;
  }

  get isPaused(): boolean {
    return this.#process?.isPaused ?? false;
  }

  /** The fleet instant of now, by the present life or the one before. */
  fleet(): number {
    const clock = this.#clock();
    if (clock) this.#fleetBase = clock.fleet() - this.machine.timeline.now;
    return this.machine.timeline.now + this.#fleetBase;
  }

  #clock(): OpenedFleetClock | undefined {
    return this.#life && !this.#life.process.isDead ? this.#life.fleetClock : undefined;
  }

  start(portDelayMs: number): void {
    if (this.isUp) return;
    const process = this.machine.spawn();
    this.#process = process;
    this.#lives += 1;
    process.onDeath(() => this.#die(process));
    const random = this.#options.randomOf(this.#lives);
    process
      .whileAlive(this.#begin({ ...this.#options, process, random }, portDelayMs))
      .catch((error: unknown) => this.#couldNotStart(process, error));
  }

  async #begin(options: LifeOptions, portDelayMs: number): Promise<void> {
    const life = await ManagerLife.begin(options);
    this.#life = life;
    await life.start({
      waitForPort: () => options.process.clock.sleep(portDelayMs),
      onPortOpen: () => this.#options.hooks.onOpened(this.fleet()),
    });
  }

  #couldNotStart(process: SimulatedProcess, error: unknown): void {
    if (toProblem(error).code !== 'unavailable') this.#options.hooks.onBroken(error);
    process.kill();
    this.machine.timeline.after(START_AGAIN_MS, () => this.start(0));
  }

  kill(): void {
    this.#process?.kill();
  }

  #die(process: SimulatedProcess): void {
    if (this.#process !== process) return;
    this.#options.hooks.onClosed(this.machine.timeline.now + this.#fleetBase);
    this.#life = undefined;
    for (const reply of this.#unanswered) reply('reset');
    this.#unanswered.clear();
  }

  /** The product's own stop. */
  stop(): void {
    const { life } = this;
    const process = this.#process;
    if (!life || !process) return this.kill();
    void process.whileAlive(life.stop()).then(
      () => process.kill(),
      () => process.kill(),
    );
  }

  pause(): void {
    this.fleet();
    this.#process?.pause();
  }

  resume(): void {
    this.#process?.resume();
  }

  receive(delivery: Delivery): void {
    const { reply } = delivery;
    const { life } = this;
    if (!life) return reply('refused');
    const settle = (outcome: Reply): void => {
      if (this.#unanswered.delete(settle)) reply(outcome);
    };
    this.#unanswered.add(settle);
    life.process.deliver(() => void this.#answer(life, { ...delivery, reply: settle }));
  }

  async #answer(life: ManagerLife, { computerId, body, dialledBy, reply }: Delivery): Promise<void> {
    const { onReport, onAnswer } = this.#options.hooks;
    const outcome = await life.process.whileAlive<Orders | ReturnType<typeof toProblem>>(
      life.handle({ computerId, body, dialledBy, onReport }).catch(toProblem),
    );
    await onAnswer(computerId, outcome);
    reply(outcome);
  }
}
