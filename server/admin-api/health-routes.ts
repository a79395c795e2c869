import { Router, type RequestHandler } from 'express';
import type { Registry } from 'prom-client';
import type { Clock } from '../../lib/clock.js';
import { Problem } from '../../lib/problem.js';
import { admit, type Admission } from './admission.js';
import { sendProblem } from './problem-handler.js';
import { askCheck, type ReadinessCheck } from './readiness-check.js';

export interface HealthDeps {
  readonly clock: Clock;
  readonly checks: readonly ReadinessCheck[];
  readonly metrics: Registry;
  readonly admission: Admission;
  /** Off loopback the metrics need a caller who may read. */
  readonly metricsNeedCaller: boolean;
}

export function healthRoutes(deps: HealthDeps): Router {
  const router = Router({ caseSensitive: true });
  router.get('/healthz', (_request, response) => void response.json({ status: 'alive' }));
  router.get('/readyz', readiness(deps));
  router.get('/metrics', async (request, response) => {
    if (deps.metricsNeedCaller) await admit(request, { permission: 'auditor' }, deps.admission);
    response.setHeader('Content-Type', deps.metrics.contentType);
    response.end(await deps.metrics.metrics());
  });
  return router;
}

function readiness({ clock, checks }: HealthDeps): RequestHandler {
  return async (_request, response) => {
    const reasons = await Promise.all(
      checks.map(async (check) => ({ name: check.name, reason: await askCheck(check, clock) })),
    );
    const notReady = reasons.filter(({ reason }) => reason !== null);
    if (notReady.length === 0) return void response.json({ status: 'ready', checks: checks.map(({ name }) => name) });
    const detail = `Not ready: ${notReady.map(({ name, reason }) => `${name} (${reason})`).join(', ')}.`;
    sendProblem(response, new Problem('unavailable', { detail, retryAfterSeconds: 1, members: { notReady } }));
  };
}
