import { collectDefaultMetrics, Gauge, Registry } from 'prom-client';
import type { ChannelCounts } from '../channels/index.js';
import type { DialMetrics } from '../dials/index.js';
import type { IngestMetrics } from '../heartbeats/ingest-metrics.js';
import type { ReportBatcher } from '../heartbeats/report-batcher.js';
import type { FleetClock } from '../fleet-clock/fleet-clock.js';
import type { RunningListeningLedger } from '../listening/listening-ledger.js';
import type { LagWatch } from '../scheduler/lag-watch.js';
import type { DeadMan } from './dead-man.js';
import type { ManagerDrain } from './drain.js';
import type { VerdictJob } from '../verdicts/verdict-job.js';

export interface MetricsDeps {
  readonly ingest: IngestMetrics;
  readonly batcher: Pick<ReportBatcher, 'load'>;
  readonly ledger: Pick<RunningListeningLedger, 'deafSecondsBy' | 'deafness'>;
  readonly verdicts: Pick<VerdictJob, 'verdictState'>;
  readonly dials: DialMetrics;
  readonly channels: ChannelCounts;
  /** Of the verdict job; undefined where another process has it. */
  readonly lag: Pick<LagWatch, 'worstMs'> | undefined;
  readonly fleetClock: Pick<FleetClock, 'fleet'>;
  readonly drain: Pick<ManagerDrain, 'isOn'>;
  /** Undefined where none is configured. */
  readonly deadMan: Pick<DeadMan, 'state'> | undefined;
}

const VERDICT_STATES = ['active', 'held', 'warming'] as const;

const LAG_WITHIN_MS = 60_000;

/** `/metrics`: read when scraped, never on the hot path. */
export function createMetrics(deps: MetricsDeps): Registry {
  const { ingest, batcher, dials, lag } = deps;
  const registry = new Registry();
  collectDefaultMetrics({ register: registry, prefix: 'wardbeat_' });
  const gauge = gaugesOf(registry);
  for (const key of Object.keys(ingest) as (keyof IngestMetrics)[])
    gauge(`wardbeat_ingest_${toSnake(key)}_total`, `Ingest counter ${toSnake(key)} since the start`, () => ingest[key]);
  gauge('wardbeat_ingest_queue_share', 'Share of the report queue in use, 0 to 1', () => batcher.load());
  if (lag)
    gauge(
      'wardbeat_scheduler_lag_seconds',
      'How late verdicts were looked for at worst within the last minute',
      () => lag.worstMs(LAG_WITHIN_MS) / 1000,
    );
  gauge('wardbeat_draining', '1 while the manager means to go', () => (deps.drain.isOn() ? 1 : 0));
  addListening(registry, deps);
  if (deps.deadMan) addDeadMan(registry, { deadMan: deps.deadMan, fleetClock: deps.fleetClock });
  addDials(registry, dials);
  addChannels(registry, deps.channels);
  return registry;
}

function addListening(registry: Registry, { ledger, verdicts, fleetClock }: MetricsDeps): void {
  const gauge = gaugesOf(registry);
  new Gauge({
    name: 'wardbeat_deaf_seconds_total',
    help: 'Seconds stored as not listened, by cause',
    labelNames: ['cause'],
    registers: [registry],
    collect() {
      for (const [cause, seconds] of Object.entries(ledger.deafSecondsBy())) this.set({ cause }, seconds);
    },
  });
  gauge('wardbeat_deaf', '1 while nothing is listened to', () => (ledger.deafness() ? 1 : 0));
  new Gauge({
    name: 'wardbeat_verdicts_state',
    help: '1 for the state that verdicts are in',
    labelNames: ['state'],
    registers: [registry],
    collect() {
      const { state } = verdicts.verdictState();
      for (const one of VERDICT_STATES) this.set({ state: one }, one === state ? 1 : 0);
    },
  });
  new Gauge({
    name: 'wardbeat_verdicts_waiting_seconds',
    help: 'For how long verdicts have been held or warming, by the reason; absent while they are active',
    labelNames: ['reason'],
    registers: [registry],
    collect() {
      const { reason, since } = verdicts.verdictState();
      this.reset();
      if (reason !== null) this.set({ reason }, (fleetClock.fleet() - since) / 1000);
    },
  });
}

function addDeadMan(
  registry: Registry,
  { deadMan, fleetClock }: { readonly deadMan: Pick<DeadMan, 'state'>; readonly fleetClock: Pick<FleetClock, 'fleet'> },
): void {
  new Gauge({
    name: 'wardbeat_deadman_pings_total',
    help: 'Looks of the dead-man ping since the start, by what became of each',
    labelNames: ['result'],
    registers: [registry],
    collect() {
      for (const [result, count] of Object.entries(deadMan.state().results)) this.set({ result }, count);
    },
  });
  new Gauge({
    name: 'wardbeat_deadman_ok_age_seconds',
    help: 'How long ago a dead-man ping was taken; infinite before the first',
    registers: [registry],
    collect() {
      const { lastOkAt } = deadMan.state();
      this.set(lastOkAt === null ? Number.POSITIVE_INFINITY : (fleetClock.fleet() - lastOkAt) / 1000);
    },
  });
}

function gaugesOf(registry: Registry): (name: string, help: string, read: () => number) => void {
  return (name, help, read) => {
    new Gauge({
      name,
      help,
      registers: [registry],
      collect() {
        this.set(read());
      },
    });
  };
}

function addDials(registry: Registry, { results, open, scheduled, lagMs }: DialMetrics): void {
  const labelled = (name: string, help: string, { label, values }: { label: string; values: object }): void => {
    new Gauge({
      name,
      help,
      labelNames: [label],
      registers: [registry],
      collect() {
        for (const [key, value] of Object.entries(values)) this.set({ [label]: key }, value as number);
      },
    });
  };
  labelled('wardbeat_dials_total', 'Dials of agents since the start', { label: 'result', values: results });
  labelled('wardbeat_dials_open', 'Dials of agents that are open', { label: 'lane', values: open });
  const gauge = gaugesOf(registry);
  gauge('wardbeat_dials_scheduled', 'Computers in the schedule of dials', scheduled);
  gauge('wardbeat_dials_lag_seconds', 'How far the dial that is due first is behind', () => lagMs() / 1000);
}

function addChannels(registry: Registry, channels: ChannelCounts): void {
  const gauge = gaugesOf(registry);
  gauge('wardbeat_channels_open', 'Held connections of agents that are open here', channels.open);
  gauge('wardbeat_channels_opened_total', 'Held connections that were opened since the start', channels.opened);
  gauge('wardbeat_channel_wakes_total', 'Agents that were woken since the start', channels.wakes);
  gauge('wardbeat_channel_wakes_unanswered_total', 'Wakes that ended in a timeout', channels.unansweredWakes);
  gauge('wardbeat_channel_wakes_waiting', 'Agents that wait for their turn to be woken', channels.waiting);
  new Gauge({
    name: 'wardbeat_channels_ended_total',
    help: 'Held connections that ended since the start, by why',
    labelNames: ['reason'],
    registers: [registry],
    collect() {
      for (const [reason, count] of Object.entries(channels.ended())) this.set({ reason }, count);
    },
  });
}

function toSnake(camel: string): string {
  return camel.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}
