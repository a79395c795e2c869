import { Router, type RequestHandler } from 'express';
import type { Registry } from 'prom-client';
import type { Clock } from '../../lib/clock.js';
import { Problem } from '../../lib/problem.js';
import { admit, type Admission } from './admission.js';
import { sendProblem } from './problem-handler.js';

/** One thing that must hold before the manager is ready. */
export interface ReadinessCheck {
  readonly name: string;
  /** Null when it holds, otherwise why not. A rejection counts as not ready. */
  check(): Promise<string | null>;
}

export interface HealthDeps {
  readonly clock: Clock;
  readonly checks: readonly ReadinessCheck[];
  readonly metrics: Registry;
  readonly admission: Admission;
  /** Off loopback the metrics need a caller who may read. */
  readonly metricsNeedCaller: boolean;
}

const CHECK_TIMEOUT_MS = 2_000;

export function healthRoutes(deps: HealthDeps): Router {
  const router = Router({ caseSensitive: true });
  router.get('/healthz', (_request, response) => void response.json({ status: 'alive' }));
  router.get('/readyz', readiness(deps));
  router.get('/metrics', async (request, response) => {
    if (deps.metricsNeedCaller) await admit(request, 'auditor', deps.admission);
    response.setHeader('Content-Type', deps.metrics.contentType);
    response.end(await deps.metrics.metrics());
  });
  return router;
}

function readiness({ clock, checks }: HealthDeps): RequestHandler {
  return async (_request, response) => {
    const reasons = await Promise.all(
      checks.map(async (check) => ({ name: check.name, reason: await run(check, clock) })),
    );
    const notReady = reasons.filter(({ reason }) => reason !== null);
    if (notReady.length === 0) return void response.json({ status: 'ready', checks: checks.map(({ name }) => name) });
    const detail = `Not ready: ${notReady.map(({ name, reason }) => `${name} (${reason})`).join(', ')}.`;
    sendProblem(response, new Problem('unavailable', { detail, retryAfterSeconds: 1, members: { notReady } }));
  };
}

async function run({ check }: ReadinessCheck, clock: Clock): Promise<string | null> {
  const done = new AbortController();
  const late = clock.sleep(CHECK_TIMEOUT_MS, done.signal).then(
    () => `no answer within ${CHECK_TIMEOUT_MS} ms`,
    () => null,
  );
  try {
    return await Promise.race([check(), late]);
  } catch {
    return 'failed';
  } finally {
    done.abort();
  }
}
