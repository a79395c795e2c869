import type { IncomingMessage, Server } from 'node:http';
import type { Socket } from 'node:net';
import type { Clock } from './clock.js';
import type { Lifecycle } from './lifecycle.js';

export interface SlowReaderWatch {
  readonly server: Pick<Server, 'on'>;
  readonly clock: Pick<Clock, 'monotonic'>;
  /** Within this time, and a second more for every 64 KiB that wait, the client takes the next part of its answer. */
  readonly limitMs: number;
}

const BYTES_PER_SECOND = 64 * 1024;
const CHECKS_PER_LIMIT = 10;

interface Waiting {
  taken: number;
  since: number;
}

/**
 * Cuts clients that do not read what they asked for. A socket's own timeout does not see those that go on sending
 * something meanwhile.
 */
export function createSlowReaderWatch({ server, clock, limitMs }: SlowReaderWatch): Lifecycle {
  const waiting = new Map<Socket, Waiting>();
  server.on('request', ({ socket }: IncomingMessage) => {
    if (!waiting.has(socket)) waiting.set(socket, { taken: -1, since: clock.monotonic() });
  });
  const check = (): void => {
    const now = clock.monotonic();
    for (const [socket, seen] of waiting) {
      const left = socket.writableLength;
      const taken = socket.bytesWritten - left;
      if (left === 0 || socket.destroyed) waiting.delete(socket);
      else if (taken !== seen.taken) waiting.set(socket, { taken, since: now });
      else if (now - seen.since > limitMs + (left * 1000) / BYTES_PER_SECOND) socket.destroy();
    }
  };
  let timer: NodeJS.Timeout | undefined;
  return {
    async start() {
      timer ??= setInterval(check, limitMs / CHECKS_PER_LIMIT).unref();
    },
    async stop() {
      clearInterval(timer);
      timer = undefined;
    },
  };
}
