import type { Log } from '../../lib/log.js';
import type { ComponentReport } from '../../protocol/heartbeat-messages.js';
import type { AgentMetrics } from './agent-metrics.js';
import { serveMetrics, type MetricsServer } from './metrics-server.js';

export interface MetricsEndpointDeps {
  /** Undefined: none is wanted. */
  readonly port: number | undefined;
  readonly metrics: AgentMetrics;
  readonly log: Log;
}

/** The loopback endpoint of the agent. That it cannot listen is told, and stops nothing. */
export class MetricsEndpoint {
  readonly #deps: MetricsEndpointDeps;
  #server: MetricsServer | undefined;
  #failure: string | undefined;

  constructor(deps: MetricsEndpointDeps) {
    this.#deps = deps;
  }

  /** For the report, where one is wanted and cannot listen. */
  get part(): ComponentReport | undefined {
    const detail = this.#failure;
    return detail === undefined ? undefined : { name: 'metrics', kind: 'agentPart', state: 'offline', detail };
  }

  get port(): number | undefined {
    return this.#server?.port;
  }

  async start(): Promise<void> {
    const { port, metrics, log } = this.#deps;
    if (port === undefined) return;
    try {
      this.#server = await serveMetrics({ port, registry: metrics.registry, log });
    } catch (error) {
      this.#failure = (error instanceof Error ? error.message : String(error)).slice(0, 1024);
      log.error({ err: error, port }, 'The metrics endpoint cannot listen');
    }
  }

  async stop(): Promise<void> {
    await this.#server?.close();
    this.#server = undefined;
  }
}
