import { Agent, request, type IncomingHttpHeaders } from 'node:http';
import type { Socket } from 'node:net';
import { connectionReset } from './network-error.js';

/** Hands out the one socket that is open and never opens another: requests follow one another on it. */
export class SingleSocketAgent extends Agent {
  #socket: Socket | undefined;

  constructor(socket: Socket) {
    super({ keepAlive: true, maxSockets: 1 });
    this.#socket = socket;
  }

  override createConnection(): Socket {
    const socket = this.#socket;
    this.#socket = undefined;
    if (!socket || socket.destroyed) throw connectionReset('the peer closed the connection');
    return socket;
  }
}

/** What has come of an answer so far. */
export interface AnswerPart {
  readonly status: number;
  /** Of the body, this chunk included. */
  readonly totalBytes: number;
  readonly chunkBytes: number;
}

export interface SocketPost {
  readonly agent: SingleSocketAgent;
  /** What the header `Host` names. */
  readonly host: string;
  readonly port?: number;
  readonly path: string;
  /** JSON text. */
  readonly body: string;
  /** Bytes of the answer's header; Node's own limit unless given. */
  readonly maxHeaderBytes?: number;
  /** Called with every chunk: what it throws ends the post. */
  readonly admit: (part: AnswerPart) => void;
  readonly signal: AbortSignal;
}

export interface SocketAnswer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly bytes: Buffer;
}

/**
 * Posts JSON and collects the answer, whatever its status; a redirection is followed nowhere. Throws what Node reported
 * (lib/network-error.ts names it), what `admit` threw, or the signal's reason.
 */
export function postOverSocket({ agent, host, port, path, body, ...rest }: SocketPost): Promise<SocketAnswer> {
  const { maxHeaderBytes, admit, signal } = rest;
  return new Promise((resolve, reject) => {
    const fail = (error: unknown): void => reject((signal.aborted ? signal.reason : error) as Error);
    const outgoing = request({
      agent,
      host,
      ...(port === undefined ? {} : { port }),
      path,
      method: 'POST',
      signal,
      ...(maxHeaderBytes === undefined ? {} : { maxHeaderSize: maxHeaderBytes }),
      headers: { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) },
    });
    outgoing.on('error', fail);
    // Node reports no error of a peer that switches protocols unasked: it closes the connection.
    const unanswered = (): void => fail(connectionReset('the connection ended without an answer'));
    outgoing.on('close', unanswered);
    outgoing.on('response', (response) => {
      outgoing.off('close', unanswered);
      const { statusCode: status = 0, headers } = response;
      const chunks: Buffer[] = [];
      let totalBytes = 0;
      response.on('data', (chunk: Buffer) => {
        totalBytes += chunk.length;
        try {
          admit({ status, totalBytes, chunkBytes: chunk.length });
          chunks.push(chunk);
        } catch (error) {
          fail(error);
          outgoing.destroy();
        }
      });
      response.on('error', fail);
      response.on('aborted', () => fail(connectionReset('the answer was cut off')));
      response.on('end', () => resolve({ status, headers, bytes: Buffer.concat(chunks) }));
    });
    outgoing.end(body);
  });
}
