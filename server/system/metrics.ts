import { collectDefaultMetrics, Gauge, Registry } from 'prom-client';
import type { DialMetrics } from '../dials/index.js';
import type { IngestMetrics } from '../heartbeats/ingest-metrics.js';
import type { ReportBatcher } from '../heartbeats/report-batcher.js';
import type { RunningListeningLedger } from '../listening/listening-ledger.js';
import type { VerdictJob } from '../verdicts/verdict-job.js';

export interface MetricsDeps {
  readonly ingest: IngestMetrics;
  readonly batcher: Pick<ReportBatcher, 'load'>;
  readonly ledger: Pick<RunningListeningLedger, 'deafSeconds'>;
  readonly verdicts: Pick<VerdictJob, 'verdictState'>;
  readonly dials: DialMetrics;
}

const VERDICT_STATES = ['active', 'held', 'warming'] as const;

/** `/metrics`: read when scraped, never on the hot path. */
export function createMetrics({ ingest, batcher, ledger, verdicts, dials }: MetricsDeps): Registry {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry, prefix: 'wardbeat_' });
  const gauge = (name: string, help: string, read: () => number): void => {
    new Gauge({
      name,
      help,
      registers: [registry],
      collect() {
        this.set(read());
      },
    });
  };
  for (const key of Object.keys(ingest) as (keyof IngestMetrics)[])
    gauge(`wardbeat_ingest_${toSnake(key)}_total`, `Ingest counter ${toSnake(key)} since the start`, () => ingest[key]);
  gauge('wardbeat_ingest_queue_share', 'Share of the report queue in use, 0 to 1', () => batcher.load());
  gauge('wardbeat_deaf_seconds_total', 'Seconds stored as not listened', () => ledger.deafSeconds());
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
  addDials(registry, dials);
  return registry;
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
  const gauge = (name: string, help: string, read: () => number): void => {
    new Gauge({
      name,
      help,
      registers: [registry],
      collect() {
        this.set(read());
      },
    });
  };
  gauge('wardbeat_dials_scheduled', 'Computers in the schedule of dials', scheduled);
  gauge('wardbeat_dials_lag_seconds', 'How far the dial that is due first is behind', () => lagMs() / 1000);
}

function toSnake(camel: string): string {
  return camel.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}
