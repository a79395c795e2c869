import { randomUUID } from 'node:crypto';
import type { TLSSocket } from 'node:tls';
import { WebSocket } from 'ws';
import { readManagerMessage, writeReport, type ManagerMessage } from '../../protocol/channel-messages.js';
import { AGENT_PATHS } from '../../protocol/protocol-version.js';
import { eventually } from './poll.js';

/** An agent's end of a channel, as raw as a test wants it. */
export interface ChannelClient {
  readonly webSocket: WebSocket;
  readonly socket: TLSSocket;
  readonly messages: ManagerMessage[];
  /** Code and reason of the close; undefined while it is open. */
  ended(): { readonly code: number; readonly reason: string } | undefined;
  /** Sends a report and answers what came back. */
  ask(report: object): Promise<ManagerMessage>;
  next(type: ManagerMessage['type']): Promise<ManagerMessage>;
  closed(): Promise<{ readonly code: number; readonly reason: string }>;
}

export interface ChannelClientOptions {
  readonly protocols?: readonly string[];
  readonly path?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly autoPong?: boolean;
}

/** Rejects with the status of a refused upgrade, such as `404 /problems/route-not-found`. */
export function openChannel(socket: TLSSocket, options: ChannelClientOptions = {}): Promise<ChannelClient> {
  const { protocols = ['wardbeat.v1'], path = AGENT_PATHS.channel, headers = {}, autoPong = true } = options;
  const webSocket = new WebSocket(`wss://localhost${path}`, [...protocols], {
    createConnection: () => socket,
    perMessageDeflate: false,
    headers: { ...headers },
    autoPong,
  });
  const messages: ManagerMessage[] = [];
  let end: { code: number; reason: string } | undefined;
  webSocket.on('message', (data: Buffer) => void messages.push(readManagerMessage(data)));
  webSocket.on('close', (code, reason) => (end = { code, reason: reason.toString() }));
  const next = (type: ManagerMessage['type']) =>
    eventually(`a message of type ${type}`, () => {
      const index = messages.findIndex((message) => message.type === type);
      return index === -1 ? undefined : messages.splice(index, 1)[0];
    });
  const client: ChannelClient = {
    webSocket,
    socket,
    messages,
    next,
    ended: () => end,
    closed: () => eventually('the channel is closed', () => end),
    async ask(report) {
      const requestId = randomUUID();
      webSocket.send(writeReport(requestId, JSON.stringify(report)));
      return eventually('an answer', () => {
        const index = messages.findIndex((one) => 'requestId' in one && one.requestId === requestId);
        return index === -1 ? undefined : messages.splice(index, 1)[0];
      });
    },
  };
  return new Promise((resolve, reject) => {
    webSocket.once('open', () => resolve(client));
    webSocket.once('error', reject);
    webSocket.once('unexpected-response', (_request, response) => {
      let body = '';
      response.setEncoding('utf8').on('data', (chunk) => (body += String(chunk)));
      response.on('end', () => {
        const { type } = JSON.parse(body || '{}') as { type?: string };
        reject(new Error(`${response.statusCode} ${type}`));
      });
    });
  });
}
