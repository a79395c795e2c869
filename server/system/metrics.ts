import { collectDefaultMetrics, Gauge, Registry } from 'prom-client';
import type { IngestMetrics } from '../heartbeats/ingest-metrics.js';
import type { ReportBatcher } from '../heartbeats/report-batcher.js';
import type { RunningListeningLedger } from '../listening/listening-ledger.js';
import type { VerdictJob } from '../verdicts/verdict-job.js';

export interface MetricsDeps {
  readonly ingest: IngestMetrics;
  readonly batcher: Pick<ReportBatcher, 'load'>;
  readonly ledger: Pick<RunningListeningLedger, 'deafSeconds'>;
  readonly verdicts: Pick<VerdictJob, 'verdictState'>;
}

const VERDICT_STATES = ['active', 'held', 'warming'] as const;

/** `/metrics`: read when scraped, never on the hot path. */
export function createMetrics({ ingest, batcher, ledger, verdicts }: MetricsDeps): Registry {
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
  return registry;
}

function toSnake(camel: string): string {
  return camel.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}
