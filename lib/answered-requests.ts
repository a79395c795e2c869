import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';

/**
 * Remembers on which connections the last request was answered before all of it had come, by a refusal of its header. What
 * makes no sense there afterwards is the rest of that request: a second answer would answer nothing.
 */
export interface AnsweredRequests {
  /** To be told of every request. */
  readonly see: (request: IncomingMessage, response: ServerResponse) => void;
  /** Lets what was answered leave and closes such a connection; answers whether it was one. */
  readonly close: (socket: Duplex) => boolean;
}

export function createAnsweredRequests(): AnsweredRequests {
  const last = new WeakMap<Duplex, { readonly request: IncomingMessage; readonly response: ServerResponse }>();
  return {
    see: (request, response) => void last.set(request.socket, { request, response }),
    close(socket) {
      const known = last.get(socket);
      if (!known?.response.headersSent || known.request.complete) return false;
      (socket as Socket).destroySoon();
      return true;
    },
  };
}
