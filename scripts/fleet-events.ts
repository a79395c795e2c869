import { appendFileSync } from 'node:fs';
import type { Daemon } from '../agent/daemon.js';
import type { Clock } from '../lib/clock.js';
import type { Log } from '../lib/log.js';

/** One event that a spool has accepted: from here on it must arrive, and once. One JSON line of the log each. */
export interface AcceptedEvent {
  readonly computerId: string;
  readonly lane: string;
  readonly epoch: string;
  readonly sequence: number;
  readonly message: string;
}

interface Emitter {
  readonly computerId: string;
  readonly daemon: Daemon | undefined;
}

export interface FleetEventsOptions {
  readonly agents: readonly Emitter[];
  /** Events of every agent per heartbeat interval. */
  readonly perBeat: number;
  /** Gets one line per accepted event, after it is on the agent's disk. */
  readonly logFile: string | undefined;
  readonly clock: Clock;
  readonly log: Log;
}

const TICK_MS = 500;

/** Lets every running agent emit events with names of their own through its spool, until the signal. */
export async function emitFleetEvents(options: FleetEventsOptions, signal: AbortSignal): Promise<void> {
  const { agents, clock } = options;
  const dueAt = new Map<Emitter, number>();
  let emitted = 0;
  while (!signal.aborted) {
    const now = clock.monotonic();
    const due = agents.filter((agent) => agent.daemon !== undefined && (dueAt.get(agent) ?? 0) <= now);
    for (const agent of due) dueAt.set(agent, now + (agent.daemon?.intervalSeconds ?? 1) * 1000);
    await Promise.all(
      due.flatMap((agent) =>
        Array.from({ length: options.perBeat }, () => emit(options, agent, `fleet-event-${(emitted += 1)}`)),
      ),
    );
    await clock.sleep(TICK_MS, signal).catch(() => undefined);
  }
}

async function emit(
  { logFile, log }: FleetEventsOptions,
  { daemon, computerId }: Emitter,
  message: string,
): Promise<void> {
  try {
    const range = await daemon?.spool.append('log', { kind: 'fleet-event', severity: 'info', message });
    if (!range || logFile === undefined) return;
    const accepted: AcceptedEvent = {
      computerId,
      lane: range.lane,
      epoch: range.epoch,
      sequence: range.first,
      message,
    };
    appendFileSync(logFile, `${JSON.stringify(accepted)}\n`);
  } catch (error) {
    log.error({ err: error, computerId }, 'An event was not accepted');
  }
}
