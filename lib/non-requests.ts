import type { IncomingMessage } from 'node:http';
import type { Server } from 'node:https';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { createAnsweredRequests } from './answered-requests.js';
import { endWithProblem } from './http-answer.js';
import type { Log } from './log.js';
import { Problem } from './problem.js';
import type { Random } from './random.js';

export interface NonRequestDeps {
  readonly random: Random;
  readonly log: Log;
  /** The port as log lines call it. */
  readonly port: string;
  /** Takes a protocol switch over; false where it is none that it knows. */
  readonly upgrade?: ((request: IncomingMessage, socket: Duplex, head: Buffer) => boolean) | undefined;
}

/**
 * Refuses what never becomes a request of a TLS server, by a problem document where HTTP is spoken: protocol switches,
 * tunnels, unknown expectations, what is malformed or too slow.
 */
export function refuseNonRequests(server: Server, { random, log, port, upgrade }: NonRequestDeps): void {
  const answered = createAnsweredRequests();
  for (const event of ['request', 'checkContinue'] as const) server.prependListener(event, answered.see);
  const end = (socket: Duplex, problem: Problem): void => endWithProblem(socket, problem, random.uuid());
  server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    if (!upgrade?.(request, socket, head)) end(socket, NO_SWITCH);
  });
  server.on('connect', (_request, socket) => end(socket, NO_PROXY));
  server.on('checkExpectation', ({ socket }: IncomingMessage) => end(socket, NO_EXPECTATION));
  server.on('clientError', ({ code }: NodeJS.ErrnoException, socket: Duplex) => {
    log.debug({ code, port }, 'A connection spoke no HTTP');
    if (answered.close(socket)) return;
    if (code === 'ECONNRESET' || !socket.writable) return void socket.destroy();
    end(socket, code === 'ERR_HTTP_REQUEST_TIMEOUT' ? TOO_SLOW : MALFORMED);
  });
  server.on('tlsClientError', ({ code }: NodeJS.ErrnoException, socket: Socket) => {
    log.debug({ code, port, address: socket.remoteAddress }, 'A TLS handshake failed');
    socket.destroy();
  });
}

const NO_SWITCH = new Problem('route-not-found', { detail: 'No protocol switch is served here.' });
const NO_PROXY = new Problem('method-not-allowed', { detail: 'This port is no proxy.' });
const NO_EXPECTATION = new Problem('request-invalid', { detail: 'The Expect field is not known.' });
const TOO_SLOW = new Problem('request-timeout', { detail: 'Header and body must arrive faster.' });
const MALFORMED = new Problem('request-invalid', { detail: 'The request is not well-formed HTTP/1.1.' });
