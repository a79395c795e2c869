import type { JsonValue } from '../../lib/canonical-json.js';
import { toRfc3339, type Clock } from '../../lib/clock.js';
import type { Log } from '../../lib/log.js';
import { AGENT_VERSION } from '../agent-version.js';
import type { Settings } from '../apply-settings.js';
import type { Observer } from '../observer.js';
import type { Renewal } from '../renewal.js';
import type { IncomingEvent } from '../spool/event-intake.js';
import type { Spool } from '../spool/spool.js';
import type { StateStore } from '../state-store.js';
import { notSupported, type ExecutorTable } from './executor.js';
import type { LogLevelSwitch } from './log-level-switch.js';

export interface BasicExecutorsDeps {
  readonly clock: Clock;
  readonly log: Log;
  readonly instanceId: string;
  readonly state: StateStore;
  readonly spool: Pick<Spool, 'append'>;
  readonly settings: Settings;
  readonly observer: Pick<Observer, 'restartCollectors' | 'observe'>;
  readonly logLevel: LogLevelSwitch;
  readonly renewal: Pick<Renewal, 'rotate'>;
  /** Begins an exchange. */
  readonly wake: () => void;
  /** Forgets every connection and name, and has the next report tell everything. */
  readonly reload: () => void;
  /** Ends this process so that another takes its place; undefined where it cannot. */
  readonly restart: (() => void) | undefined;
}

/** The commands that need no more than the agent itself. */
export function basicExecutors(deps: BasicExecutorsDeps): ExecutorTable {
  return {
    ping: { execute: async () => ping(deps) },
    'heartbeat-now': {
      async execute() {
        deps.wake();
        return {};
      },
    },
    'get-config': { execute: async () => config(deps) },
    'reload-config': {
      async execute() {
        deps.settings.reload();
        deps.reload();
        deps.wake();
        return config(deps);
      },
    },
    'restart-agent': { execute: () => restart(deps), afterRestart: () => ping(deps) },
    'restart-collector': {
      async execute() {
        deps.observer.restartCollectors();
        await deps.observer.observe();
        return {};
      },
    },
    'stop-collection': { execute: () => setCollection(deps, true) },
    'start-collection': { execute: () => setCollection(deps, false) },
    'set-log-level': {
      async execute({ level = 'info', seconds = DEFAULT_SECONDS }) {
        return { ...deps.logLevel.set(String(level), Number(seconds)) };
      },
    },
    'rotate-certificate': { execute: (_args, { signal }) => rotate(deps, signal) },
  };
}

const DEFAULT_SECONDS = 3600;

/** Ends when another certificate is in force: an exchange was had with it. */
async function rotate({ renewal }: BasicExecutorsDeps, signal: AbortSignal): Promise<JsonValue> {
  const { serial, notAfter, replaced } = await renewal.rotate(signal);
  return { serial, notAfter: toRfc3339(notAfter), replaced };
}

function ping({ clock, instanceId }: BasicExecutorsDeps): Readonly<Record<string, JsonValue>> {
  return {
    version: AGENT_VERSION,
    instanceId,
    pid: process.pid,
    agentTime: Math.round(clock.wall()),
    uptimeMs: Math.round(clock.boot()),
  };
}

function config({ settings }: BasicExecutorsDeps): JsonValue {
  const { applied, values } = settings;
  const generation = applied ? { ...applied.generation } : null;
  return { fingerprint: applied?.fingerprint ?? null, generation, settings: values as unknown as JsonValue };
}

/** Never answers: the process that comes after finds the command running, and that is its result. */
function restart({ restart: end }: BasicExecutorsDeps): Promise<never> {
  if (!end) return Promise.reject(notSupported('This agent is a part of another process.'));
  end();
  return new Promise(() => undefined);
}

async function setCollection(deps: BasicExecutorsDeps, isStopping: boolean): Promise<JsonValue> {
  const { state, clock, spool, observer } = deps;
  const wasStopped = state.stoppedCollection !== undefined;
  if (wasStopped !== isStopping) {
    await state.setCollection(isStopping ? { since: Math.round(clock.wall()) } : undefined);
    await spool.append('control', collectionEvent(isStopping));
    await observer.observe();
  }
  return { collection: isStopping ? 'stopped' : 'running', changed: wasStopped !== isStopping };
}

function collectionEvent(isStopping: boolean): IncomingEvent {
  return isStopping
    ? { kind: 'collection-stopped', severity: 'info', message: 'Collection was stopped by command' }
    : { kind: 'collection-started', severity: 'info', message: 'Collection was started by command' };
}
