import { randomUUID } from 'node:crypto';
import { connect, type SecureContext, type TLSSocket } from 'node:tls';
import { WebSocket } from 'ws';
import { CHANNEL_SUBPROTOCOL, writeReport } from '../../protocol/channel-messages.js';
import { AGENT_PATHS } from '../../protocol/protocol-version.js';

export interface LoadTarget {
  readonly host: string;
  readonly port: number;
}

/** One mutual-TLS connection with a full handshake; exchanges follow one another on it. */
export interface LoadConnection {
  /** Answers the body of a 200; rejects for everything else. */
  exchange(body: string): Promise<string>;
  close(): void;
}

/** The server answered an upgrade by a status of its own. */
export class Refused extends Error {
  override name = 'Refused';

  constructor(
    status: number | undefined,
    /** By `Retry-After`; undefined where the answer had none. */
    readonly retryAfterMs: number | undefined,
  ) {
    super(`Answered ${status}`);
  }
}

const MANAGER_NAME = 'localhost';
const BLANK_LINE = '\r\n\r\n';

/** Opens a connection; no session is offered, so nothing is resumed. */
export async function openLoadConnection(context: SecureContext, target: LoadTarget): Promise<LoadConnection> {
  return createConnection(await openSocket(context, target), `${target.host}:${target.port}`);
}

/** Whether the server refused an exchange: the connection is as good as before. */
export function isAnswer(error: unknown): boolean {
  return String(error).includes('Answered');
}

/** Opens a connection and prepares it; it is closed where that fails. */
export async function openPrepared(
  open: () => Promise<LoadConnection>,
  prepare: (connection: LoadConnection) => Promise<void>,
): Promise<LoadConnection> {
  const connection = await open();
  try {
    await prepare(connection);
    return connection;
  } catch (error) {
    connection.close();
    throw error;
  }
}

function openSocket(context: SecureContext, target: LoadTarget): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ ...target, secureContext: context, servername: MANAGER_NAME });
    socket.once('error', reject);
    socket.once('secureConnect', () => {
      socket.off('error', reject);
      if (socket.isSessionReused()) reject(new Error('A session was resumed'));
      else resolve(socket);
    });
  });
}

interface Waiting {
  readonly resolve: (body: string) => void;
  readonly reject: (error: Error) => void;
}

/** The orders of an answer, as text; `{"type":"orders","requestId":"…","orders":` comes before them. */
const ORDERS_START = '{"type":"orders"';
const ORDERS_AT = `${ORDERS_START},"requestId":"","orders":`.length + 36;

export interface LoadChannel extends LoadConnection {
  /** The manager asks for an exchange. */
  onWake(listener: () => void): void;
}

/** A held channel over a connection with a full handshake; the server may be any that answers each message by one. */
export async function openLoadChannel(context: SecureContext, target: LoadTarget): Promise<LoadChannel> {
  const socket = await openSocket(context, target);
  const webSocket = new WebSocket(`wss://${target.host}:${target.port}${AGENT_PATHS.channel}`, CHANNEL_SUBPROTOCOL, {
    createConnection: () => socket,
    perMessageDeflate: false,
  });
  let waiting: Waiting | undefined;
  let wake: () => void = () => undefined;
  const settle = (finish: (one: Waiting) => void): void => {
    const one = waiting;
    waiting = undefined;
    if (one) finish(one);
  };
  webSocket.on('message', (data: Buffer) => {
    const text = data.toString('latin1');
    if (text.startsWith('{"type":"wake"')) {
      const { requestId } = JSON.parse(text) as { requestId: string };
      webSocket.send(JSON.stringify({ type: 'done', requestId }));
      return wake();
    }
    if (text.startsWith('{"type":"problem"')) return settle(({ reject }) => reject(new Error(`Answered ${text}`)));
    settle(({ resolve }) => resolve(text.startsWith(ORDERS_START) ? text.slice(ORDERS_AT, -1) : text));
  });
  webSocket.on('close', (code) => settle(({ reject }) => reject(new Error(`The channel was closed: ${code}`))));
  await new Promise<void>((resolve, reject) => {
    webSocket.once('open', resolve);
    webSocket.on('error', reject);
    webSocket.once('unexpected-response', (_request, { statusCode, headers }) => {
      const seconds = headers['retry-after'];
      reject(new Refused(statusCode, seconds === undefined ? undefined : Number(seconds) * 1000));
      socket.destroy();
    });
  });
  return {
    onWake: (listener) => void (wake = listener),
    exchange: (body) =>
      new Promise((resolve, reject) => {
        if (webSocket.readyState !== WebSocket.OPEN) return reject(new Error('The channel was closed before'));
        waiting = { resolve, reject };
        webSocket.send(writeReport(randomUUID(), body));
      }),
    close: () => webSocket.terminate(),
  };
}

/** As little HTTP/1.1 as two servers that answer with a length need: the client shall not be what is measured. */
function createConnection(socket: TLSSocket, host: string): LoadConnection {
  const headStart = `POST ${AGENT_PATHS.heartbeat} HTTP/1.1\r\nHost: ${host}\r\nContent-Type: application/json\r\n`;
  let waiting: Waiting | undefined;
  let received = '';
  const fail = (error: Error): void => {
    waiting?.reject(error);
    waiting = undefined;
  };
  socket.setNoDelay(true);
  socket.setEncoding('latin1');
  socket.on('error', fail);
  socket.on('close', () => fail(new Error('The connection was closed')));
  socket.on('data', (chunk: string) => {
    received += chunk;
    const answer = readAnswer(received);
    if (!answer) return;
    received = '';
    const { resolve } = waiting ?? {};
    if (answer.status !== 200) return fail(new Error(`Answered ${answer.status}: ${answer.body.slice(0, 300)}`));
    waiting = undefined;
    resolve?.(answer.body);
  });
  return {
    exchange: (body) =>
      new Promise((resolve, reject) => {
        if (socket.destroyed) return reject(new Error('The connection was closed before'));
        waiting = { resolve, reject };
        socket.write(`${headStart}Content-Length: ${body.length}${BLANK_LINE}${body}`, 'latin1');
      }),
    close: () => socket.end(),
  };
}

/** Undefined while it is not complete; reports and orders of the bench are ASCII. */
function readAnswer(text: string): { readonly status: number; readonly body: string } | undefined {
  const end = text.indexOf(BLANK_LINE);
  if (end === -1) return undefined;
  const length = /\r\ncontent-length: *(\d+)/i.exec(text.slice(0, end))?.[1];
  const body = text.slice(end + BLANK_LINE.length);
  if (length === undefined) throw new Error('An answer has no length');
  return body.length < Number(length) ? undefined : { status: Number(text.slice(9, 12)), body };
}
