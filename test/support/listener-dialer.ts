import { Agent, request } from 'node:https';
import type { IncomingHttpHeaders } from 'node:http';
import { connect, type TLSSocket } from 'node:tls';

import { TLS_OPTIONS } from '../../certs/tls-profile.js';
import type { Report } from '../../protocol/heartbeat-messages.js';
import { LISTENER_PATHS } from '../../protocol/protocol-version.js';
import type { FakeManager } from './agent-fake-manager.js';

/** What is shown to the listener; absent: no certificate. */
export interface DialIdentity {
  readonly cert: string;
  readonly key: string;
}

export interface DialAnswer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
  /** The code of a problem document, or undefined. */
  readonly code: string | undefined;
}

export interface DialRequest {
  readonly method?: string;
  readonly path?: string;
  readonly headers?: Record<string, string>;
}

/** One connection to an agent's listener, over which calls follow one another. */
export class ListenerDialer {
  readonly #agent: Agent;
  readonly #port: number;
  readonly sockets = new Set<unknown>();

  constructor(port: number, identity: DialIdentity | undefined) {
    this.#port = port;
    this.#agent = new Agent({ ...TLS_OPTIONS, ...identity, keepAlive: true, maxSockets: 1, rejectUnauthorized: false });
  }

  post(body: unknown, { method = 'POST', path = LISTENER_PATHS.heartbeat, headers = {} }: DialRequest = {}) {
    const text = typeof body === 'string' ? body : JSON.stringify(body);
    return new Promise<DialAnswer>((resolve, reject) => {
      const outgoing = request({
        agent: this.#agent,
        host: '127.0.0.1',
        port: this.#port,
        method,
        path,
        headers: { 'content-type': 'application/json', 'content-length': String(Buffer.byteLength(text)), ...headers },
      });
      outgoing.on('error', reject);
      outgoing.on('socket', (socket) => this.sockets.add(socket));
      outgoing.on('response', (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('error', reject);
        response.on('end', () => {
          const answer = Buffer.concat(chunks);
          resolve({
            status: response.statusCode ?? 0,
            headers: response.headers,
            body: answer,
            code: problemCode(response.headers, answer),
          });
        });
      });
      outgoing.end(text);
    });
  }

  close(): void {
    this.#agent.destroy();
  }
}

function problemCode(headers: IncomingHttpHeaders, body: Buffer): string | undefined {
  if (!headers['content-type']?.startsWith('application/problem+json')) return undefined;
  return (JSON.parse(body.toString('utf8')) as { type: string }).type.replace('/problems/', '');
}

/** The identity that a fake manager dials with. */
export function managerIdentity({ identity: { keyPem, certPem, chainPem } }: FakeManager): DialIdentity {
  return { cert: certPem + chainPem, key: keyPem };
}

export interface DialledExchange {
  /** The status of the last answer: 204 when the agent had nothing left to say. */
  readonly status: number;
  readonly code: string | undefined;
  readonly reports: readonly Report[];
  /** Connections that it took. */
  readonly connections: number;
}

/** A whole dial of the manager: the reports of the agent are stored and answered until it has nothing left to say. */
export async function dial(
  manager: FakeManager,
  target: { port: number; computerId: string },
): Promise<DialledExchange> {
  const dialer = new ListenerDialer(target.port, managerIdentity(manager));
  const base = { protocolVersion: 1, computerId: target.computerId };
  const reports: Report[] = [];
  try {
    let answer = await dialer.post(base);
    while (answer.status === 200) {
      reports.push(JSON.parse(answer.body.toString('utf8')) as Report);
      answer = await dialer.post({ ...base, orders: manager.take(answer.body, { dialledBy: 'manager' }) });
    }
    return { status: answer.status, code: answer.code, reports, connections: dialer.sockets.size };
  } finally {
    dialer.close();
  }
}

/** A raw TLS connection that says what it is told; collects what comes back. */
export function openRaw(
  port: number,
  identity?: DialIdentity,
  { session, onSession }: { readonly session?: Buffer; readonly onSession?: (session: Buffer) => void } = {},
): Promise<{ socket: TLSSocket; said(): string }> {
  return new Promise((resolve, reject) => {
    let said = '';
    const socket = connect({
      ...TLS_OPTIONS,
      ...identity,
      ...(session ? { session } : {}),
      host: '127.0.0.1',
      port,
      rejectUnauthorized: false,
    });
    if (onSession) socket.on('session', onSession);
    socket.on('data', (chunk: Buffer) => (said += chunk.toString('latin1')));
    socket.once('error', reject);
    socket.once('secureConnect', () => {
      socket.on('error', () => undefined);
      resolve({ socket, said: () => said });
    });
  });
}
