import type { Server } from 'node:tls';
import type { Socket } from 'node:net';
import { addressGroup } from './address-group.js';

export interface HandshakePace {
  /** Handshakes that begin in one turn of the event loop; each costs it about a millisecond. */
  readonly perTurn: number;
  /** A client that has said nothing by then is let go, in milliseconds. */
  readonly silenceMs: number;
}

/**
 * Lets a TLS server begin its handshakes a few at a time, the clients' addresses in turn, and none before the client
 * has said something. A flood then delays neither what is exchanged on open connections nor, by much, the handshakes
 * of other addresses.
 */
export function paceHandshakes(server: Server, { perTurn, silenceMs }: HandshakePace): void {
  const begin = server.listeners('connection') as ((socket: Socket) => void)[];
  const line = createFairLine<Socket>();
  let isScheduled = false;
  const schedule = (): void => {
    if (isScheduled) return;
    isScheduled = true;
    setImmediate(advance);
  };
  const advance = (): void => {
    isScheduled = false;
    for (let begun = 0; begun < perTurn; begun += 1) {
      const socket = line.next();
      if (!socket) return;
      if (socket.destroyed) continue;
      for (const listener of begin) listener.call(server, socket);
    }
    schedule();
  };
  server.removeAllListeners('connection');
  server.on('connection', (socket: Socket) => {
    socket.on('error', () => socket.destroy());
    socket.setTimeout(silenceMs, () => socket.destroy());
    // What was said stays in the socket's buffer, where the handshake takes it from.
    socket.once('readable', () => {
      socket.setTimeout(0).removeAllListeners('timeout');
      line.enter(addressGroup(socket.remoteAddress ?? null), socket);
      schedule();
    });
  });
}

interface FairLine<T> {
  enter(group: string, member: T): void;
  /** The first of the group that has waited longest for its turn. */
  next(): T | undefined;
}

function createFairLine<T>(): FairLine<T> {
  const groups = new Map<string, T[]>();
  return {
    enter(group, member) {
      const members = groups.get(group);
      if (members) members.push(member);
      else groups.set(group, [member]);
    },
    next() {
      const [first] = groups;
      if (!first) return undefined;
      const [group, members] = first;
      const member = members.shift();
      groups.delete(group);
      if (members.length > 0) groups.set(group, members);
      return member;
    },
  };
}
