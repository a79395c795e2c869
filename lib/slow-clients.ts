import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Clock } from './clock.js';
import type { Lifecycle } from './lifecycle.js';

export interface SlowClientLimits {
  readonly clock: Pick<Clock, 'monotonic'>;
  /** Within this time, and a second more for every 64 KiB that wait, the client takes the next part of its answer. */
  readonly readMs: number;
  /** Within this time after its last answer was given away the next request's header is complete, whatever else comes. */
  readonly idleMs: number;
}

export interface SlowClientWatch extends Lifecycle {
  /** To be told of every request, those that wait for a `100 Continue` included. */
  readonly see: (request: IncomingMessage, response: ServerResponse) => void;
  /** Requests follow on it no more: somebody else looks after the connection now. */
  readonly forget: (socket: Socket) => void;
}

const BYTES_PER_SECOND = 64 * 1024;
const CHECKS_PER_LIMIT = 10;

interface Seen {
  /** Bytes of answers that the client's side has taken. */
  taken: number;
  takenAt: number;
  /** Requests that are worked on. */
  open: number;
  idleSince: number;
}

/**
 * Cuts clients that do not read what they asked for, and those that hold a connection without asking. A socket's own
 * timeouts begin anew with every byte that comes, and empty lines between two requests are bytes of no request.
 */
export function createSlowClientWatch({ clock, readMs, idleMs }: SlowClientLimits): SlowClientWatch {
  const watched = new Map<Socket, Seen>();
  const watch = (socket: Socket): Seen => {
    const seen = { taken: -1, takenAt: clock.monotonic(), open: 0, idleSince: 0 };
    watched.set(socket, seen);
    socket.once('close', () => watched.delete(socket));
    return seen;
  };
  const check = (): void => {
    const now = clock.monotonic();
    for (const [socket, seen] of watched) {
      const left = socket.writableLength;
      const taken = socket.bytesWritten - left;
      if (left === 0 || taken !== seen.taken) Object.assign(seen, { taken, takenAt: now });
      const isUnread = left > 0 && now - seen.takenAt > readMs + (left * 1000) / BYTES_PER_SECOND;
      if (isUnread || (seen.open === 0 && now - seen.idleSince > idleMs)) socket.destroy();
    }
  };
  let timer: NodeJS.Timeout | undefined;
  return {
    see({ socket }, response) {
      const seen = watched.get(socket) ?? watch(socket);
      seen.open += 1;
      response.once('close', () => {
        seen.open -= 1;
        seen.idleSince = clock.monotonic();
      });
    },
    forget: (socket) => void watched.delete(socket),
    async start() {
      timer ??= setInterval(check, Math.min(readMs, idleMs) / CHECKS_PER_LIMIT).unref();
    },
    async stop() {
      clearInterval(timer);
      timer = undefined;
    },
  };
}
