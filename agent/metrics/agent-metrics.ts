import { Counter, Gauge, Histogram, Registry } from 'prom-client';

import type { Clock } from '../../lib/clock.js';
import { parseRfc3339 } from '../../lib/clock.js';
import type { AgentStatus } from '../status.js';

/** What is read when somebody asks. */
export interface MetricsView {
  readonly clock: Pick<Clock, 'wall'>;
  readonly version: string;
  readonly status: () => AgentStatus;
  /** Undefined while no settings of a manager are in force. */
  readonly settingsGeneration: () => number | undefined;
  readonly isCollecting: () => boolean;
}

const CONTACTS = ['starting', 'online', 'retrying', 'refused', 'stopped'] as const;
const CHANNELS = ['open', 'closed', 'fallback', 'off'] as const;
const EXCHANGE_BUCKETS = [0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60];

/** What this process counts of itself, from its start on. */
export class AgentMetrics {
  readonly registry = new Registry();
  readonly #exchanges: Histogram<'outcome'>;
  readonly #failures: Counter<'reason'>;
  readonly #durations: Gauge<'collector'>;
  readonly #collectorFailures: Counter<'collector'>;

  constructor() {
    const registers = [this.registry];
    this.#exchanges = new Histogram({
      name: 'wardbeat_agent_exchange_seconds',
      help: 'How long exchanges with the manager took, by outcome',
      labelNames: ['outcome'],
      buckets: EXCHANGE_BUCKETS,
      registers,
    });
    this.#failures = new Counter({
      name: 'wardbeat_agent_exchange_failures_total',
      help: 'Exchanges that failed, by the code of their failure',
      labelNames: ['reason'],
      registers,
    });
    this.#durations = new Gauge({
      name: 'wardbeat_agent_collector_duration_seconds',
      help: 'How long each collector took the last time, or was waited for',
      labelNames: ['collector'],
      registers,
    });
    this.#collectorFailures = new Counter({
      name: 'wardbeat_agent_collector_failures_total',
      help: 'Looks of a collector that failed or came to no end',
      labelNames: ['collector'],
      registers,
    });
  }

  readonly exchanged = (failure: string | undefined, milliseconds: number): void => {
    this.#exchanges.observe({ outcome: failure === undefined ? 'ok' : 'failed' }, milliseconds / 1000);
    if (failure !== undefined) this.#failures.inc({ reason: failure });
  };

  readonly collected = (collector: string, milliseconds: number, isGood: boolean): void => {
    this.#durations.set({ collector }, milliseconds / 1000);
    if (!isGood) this.#collectorFailures.inc({ collector });
  };

  /** Adds what is read of the running agent. Once. */
  watch(view: MetricsView): void {
    const { registry } = this;
    const add = addTo(registry);
    const info = { name: 'wardbeat_agent_info', help: 'The version of the agent', labelNames: ['version'] };
    new Gauge({ ...info, registers: [registry] }).set({ version: view.version }, 1);
    addStates(registry, view);
    addSpool(registry, view);
    add('settings_generation', 'Counter of the settings in force', () => view.settingsGeneration());
    add('clock_offset_seconds', 'How far the clock of this computer is ahead of the manager', () => {
      const { clockOffsetMs } = view.status();
      return clockOffsetMs === null ? undefined : clockOffsetMs / 1000;
    });
    add('last_contact_age_seconds', 'Time since the last exchange, by the wall clock', () => ageOf(view));
    add('certificate_expires_timestamp_seconds', 'When the certificate of this computer ends', () => {
      const end = parseRfc3339(view.status().certificate.notAfter);
      return end === undefined ? undefined : end / 1000;
    });
    add('collecting', '0 while collection is stopped by command', () => (view.isCollecting() ? 1 : 0));
    add('resident_memory_bytes', 'Memory of this process', () => process.memoryUsage.rss());
    add('cpu_seconds_total', 'Processor time of this process', () => {
      const { user, system } = process.cpuUsage();
      return (user + system) / 1e6;
    });
  }
}

function ageOf({ clock, status }: MetricsView): number | undefined {
  const at = parseRfc3339(status().lastExchangeAt ?? '');
  return at === undefined ? undefined : Math.max(0, clock.wall() - at) / 1000;
}

/** A gauge that is absent while there is nothing to tell. */
function addTo(registry: Registry): (name: string, help: string, read: () => number | undefined) => void {
  return (name, help, read) => {
    new Gauge({
      name: `wardbeat_agent_${name}`,
      help,
      registers: [registry],
      collect() {
        const value = read();
        this.remove();
        if (value !== undefined) this.set(value);
      },
    });
  };
}

interface StateGauge {
  readonly name: string;
  readonly help: string;
  readonly states: readonly string[];
  readonly read: () => string;
}

function addStates(registry: Registry, { status }: MetricsView): void {
  const add = ({ name, help, states, read }: StateGauge): void => {
    new Gauge({
      name: `wardbeat_agent_${name}`,
      help,
      labelNames: ['state'],
      registers: [registry],
      collect() {
        const now = read();
        for (const state of states) this.set({ state }, state === now ? 1 : 0);
      },
    });
  };
  const contact = 'How contact with the manager stands: 1 for the state that it is in';
  add({ name: 'contact_state', help: contact, states: CONTACTS, read: () => status().state });
  const channel = 'How the held connection stands: 1 for the state that it is in';
  add({ name: 'channel_state', help: channel, states: CHANNELS, read: () => status().channel.state });
}

function addSpool(registry: Registry, { status }: MetricsView): void {
  const add = addTo(registry);
  add('spool_bytes', 'Bytes in the spool', () => status().spool.bytes);
  const ofLanes = (name: string, help: string, read: (lane: AgentStatus['spool']['lanes']['log']) => number): void => {
    new Gauge({
      name: `wardbeat_agent_spool_${name}`,
      help,
      labelNames: ['lane'],
      registers: [registry],
      collect() {
        for (const [lane, state] of Object.entries(status().spool.lanes)) this.set({ lane }, read(state));
      },
    });
  };
  ofLanes('next_sequence', 'Sequence of the next record of the lane', ({ next }) => next);
  ofLanes(
    'acknowledged_sequence',
    'Position of the lane that the manager has stored',
    ({ acknowledged }) => acknowledged,
  );
  ofLanes('dropped_total', 'Records of the lane that were dropped', ({ dropped }) => dropped);
}
