import { spawn } from 'node:child_process';
import { connect as connectTcp, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { pathToFileURL } from 'node:url';

/**
 * `silent` never says a word, `header` and `body` say one byte a second, `reader` asks for much and reads nothing
 * of it, with an empty line a second.
 */
export const SLOW_KINDS = ['silent', 'header', 'body', 'reader'] as const;
/** `handshaken` is silent once TLS is made, `pipeline` says a hundred calls in one breath. */
export const MORE_SLOW_KINDS = [...SLOW_KINDS, 'handshaken', 'pipeline'] as const;
export type SlowKind = (typeof MORE_SLOW_KINDS)[number];

export interface SlowAttack {
  readonly port: number;
  readonly isTls: boolean;
  /** Of each kind. */
  readonly count: number;
  /** Source addresses of loopback over which the clients are spread, so that no limit of one address helps. */
  readonly addresses: number;
  /** The one address that all come from instead. */
  readonly from?: string;
  readonly kinds?: readonly SlowKind[];
  /** What a reader asks for; a good answer is large. */
  readonly path: string;
}

export interface SlowOutcome {
  readonly kind: SlowKind;
  /** Whose connection, with TLS its handshake, was made. */
  readonly opened: number;
  /** Who was turned away before that. */
  readonly refused: number;
  /** Who was still connected when the attack was given up. */
  readonly left: number;
  /** From the connection (for `silent` the TCP connection) to its end, in milliseconds. */
  readonly longestMs: number;
  readonly longestHandshakeMs: number;
}

const GIVE_UP_MS = 40_000;
const DRIP_MS = 1000;
/** A reader looks up then: before, it could not see that it was let go. */
const LOOKS_UP_MS = 13_000;

const WORDS: Readonly<Record<SlowKind, (path: string) => string>> = {
  silent: () => '',
  header: (path) => `GET ${path} HTTP/1.1\r\nHost: localhost\r\nX-Slow: `,
  body: () =>
    'POST /agent/v1/enroll HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 50000\r\n\r\n{',
  reader: (path) => `GET ${path} HTTP/1.1\r\nHost: localhost\r\n\r\n`.repeat(2),
  handshaken: () => '',
  pipeline: (path) =>
    `POST ${path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}`.repeat(
      100,
    ),
};
const DRIPS: Readonly<Record<SlowKind, string>> = {
  silent: '',
  header: 'x',
  body: ' ',
  reader: '\r\n',
  handshaken: '',
  pipeline: '',
};

/** Runs the attack in a process of its own, so that whoever looks on is not slowed by it. */
export async function runSlowAttack(attack: SlowAttack): Promise<SlowOutcome[]> {
  const child = spawn(process.execPath, ['dist/test/support/slow-clients.js', JSON.stringify(attack)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let output = '';
  child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
  await new Promise((resolve) => child.once('close', resolve));
  return JSON.parse(output) as SlowOutcome[];
}

interface SlowClient {
  readonly kind: SlowKind;
  readonly socket: Socket;
  readonly startedAt: number;
  openedAt: number | undefined;
  closedAt: number | undefined;
}

function beginClient(attack: SlowAttack, kind: SlowKind, index: number): SlowClient {
  const { port, isTls, addresses, path, from } = attack;
  const localAddress = from ?? `127.0.1.${1 + (index % addresses)}`;
  const target = { host: '127.0.0.1', port, localAddress };
  const isSecured = isTls && kind !== 'silent';
  const socket = isSecured ? connectTls({ ...target, rejectUnauthorized: false }) : connectTcp(target);
  const startedAt = performance.now();
  const client: SlowClient = { kind, socket, startedAt, openedAt: undefined, closedAt: undefined };
  const close = (): void => {
    client.closedAt ??= performance.now();
    socket.destroy();
  };
  socket.once(isSecured ? 'secureConnect' : 'connect', () => {
    client.openedAt = performance.now();
    const words = WORDS[kind](path);
    if (words !== '') socket.write(words);
    if (kind !== 'reader') socket.resume();
    else {
      socket.pause();
      setTimeout(() => socket.resume(), LOOKS_UP_MS);
    }
  });
  socket.on('error', close).on('end', close).on('close', close);
  return client;
}

function toOutcome(clients: readonly SlowClient[], kind: SlowKind): SlowOutcome {
  const own = clients.filter((client) => client.kind === kind);
  const opened = own.filter(({ openedAt }) => openedAt !== undefined);
  const held = opened.map(({ openedAt = 0, closedAt = performance.now() }) => closedAt - openedAt);
  const handshakes = opened.map(({ openedAt = 0, startedAt }) => openedAt - startedAt);
  return {
    kind,
    opened: opened.length,
    refused: own.filter(({ openedAt, closedAt }) => openedAt === undefined && closedAt !== undefined).length,
    left: own.filter(({ closedAt }) => closedAt === undefined).length,
    longestMs: Math.round(Math.max(0, ...held)),
    longestHandshakeMs: Math.round(Math.max(0, ...handshakes)),
  };
}

async function attackAtOnce(attack: SlowAttack): Promise<SlowOutcome[]> {
  const clients: SlowClient[] = [];
  const { kinds = SLOW_KINDS } = attack;
  for (let index = 0; index < attack.count; index += 1)
    for (const kind of kinds) clients.push(beginClient(attack, kind, index));
  const startedAt = performance.now();
  const isOver = (): boolean =>
    performance.now() - startedAt > GIVE_UP_MS || clients.every(({ closedAt }) => closedAt !== undefined);
  await new Promise<void>((resolve) => {
    const dripping = setInterval(() => {
      for (const { kind, socket, openedAt, closedAt } of clients)
        if (openedAt !== undefined && closedAt === undefined && DRIPS[kind] !== '') socket.write(DRIPS[kind]);
      if (!isOver()) return;
      clearInterval(dripping);
      resolve();
    }, DRIP_MS);
  });
  const outcomes = kinds.map((kind) => toOutcome(clients, kind));
  for (const { socket } of clients) socket.destroy();
  return outcomes;
}

const [, script = '', given] = process.argv;
if (given !== undefined && import.meta.url === pathToFileURL(script).href)
  process.stdout.write(JSON.stringify(await attackAtOnce(JSON.parse(given) as SlowAttack)));
