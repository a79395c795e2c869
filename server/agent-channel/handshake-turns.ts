import type { Server, Socket } from 'node:net';
import { addressGroup } from '../../lib/address-group.js';

/** Each costs a millisecond or two in which nobody else is served, and to store a heartbeat takes several turns. */
const PER_TURN = 1;

/**
 * Begins the TLS of new connections a few per turn of the event loop, by turns among addresses: who opens a hundred at
 * once makes neither the heartbeats wait that come over open connections, nor the handshakes of others.
 */
export function takeHandshakesInTurns(server: Server, perTurn = PER_TURN): void {
  const begin = server.listeners('connection') as ((this: Server, socket: Socket) => void)[];
  const waiting = new Map<string, Socket[]>();
  let isPlanned = false;
  const plan = (): void => {
    if (isPlanned || waiting.size === 0) return;
    isPlanned = true;
    setImmediate(() => {
      isPlanned = false;
      for (const socket of takeTurn(waiting, perTurn)) for (const listener of begin) listener.call(server, socket);
      plan();
    });
  };
  server.removeAllListeners('connection');
  server.on('connection', (socket: Socket) => {
    // Nobody else listens while it waits.
    socket.on('error', () => undefined);
    const group = addressGroup(socket.remoteAddress ?? null);
    const queue = waiting.get(group);
    if (queue) queue.push(socket);
    else waiting.set(group, [socket]);
    plan();
  });
}

/** Takes up to `most`, of each address one before any has a second; who had a turn goes to the end. */
function takeTurn(waiting: Map<string, Socket[]>, most: number): Socket[] {
  const taken: Socket[] = [];
  for (const [group, queue] of waiting) {
    if (taken.length === most) break;
    waiting.delete(group);
    const socket = queue.shift();
    if (queue.length > 0) waiting.set(group, queue);
    if (socket && !socket.destroyed) taken.push(socket);
  }
  return taken;
}
