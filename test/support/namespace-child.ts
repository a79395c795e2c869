import { createSocket } from 'node:dgram';
import { connect, createServer, isIP, type Socket } from 'node:net';
import { createInterface } from 'node:readline';

/** What a process inside a network namespace is asked to do, one JSON line each; see namespaces.ts. */
export interface ChildRequest {
  readonly id: number;
  readonly op: 'listen' | 'listenUdp' | 'connect' | 'ask' | 'hold' | 'say';
  readonly host?: string;
  readonly port: number;
  readonly from?: string;
  readonly milliseconds?: number;
}

const WAIT_MS = 500;
const held = new Map<string, Socket>();

function listen(port: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => {
      socket.on('error', () => undefined);
      socket.pipe(socket);
    });
    server.once('error', reject);
    server.listen(port, '::', () => resolve('listening'));
  });
}

function listenUdp(port: number): Promise<string> {
  return new Promise((resolve) => {
    const socket = createSocket('udp6');
    socket.on('message', (message, from) => socket.send(message, from.port, from.address));
    socket.bind(port, () => resolve('listening'));
  });
}

/** `open` where a byte went there and came back. */
function echo(socket: Socket, milliseconds: number): Promise<string> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => resolve('silent'), milliseconds);
    const end = (what: string): void => {
      clearTimeout(timer);
      resolve(what);
    };
    socket.once('data', () => end('open'));
    socket.once('error', (error: NodeJS.ErrnoException) => end(error.code ?? 'error'));
    socket.write('x');
  });
}

function openTo({ host = '', port, from }: ChildRequest): Socket {
  const socket = connect({ host, port, ...(from === undefined ? {} : { localAddress: from }) });
  socket.on('error', () => undefined);
  return socket;
}

async function tryConnection(request: ChildRequest): Promise<string> {
  const socket = openTo(request);
  const answer = await echo(socket, request.milliseconds ?? WAIT_MS);
  socket.destroy();
  return answer;
}

function ask({ host = '', port, milliseconds = WAIT_MS }: ChildRequest): Promise<string> {
  return new Promise((resolve) => {
    const socket = createSocket(isIP(host) === 6 ? 'udp6' : 'udp4');
    const end = (what: string): void => {
      clearTimeout(timer);
      socket.close();
      resolve(what);
    };
    const timer = setTimeout(() => end('silent'), milliseconds);
    socket.once('message', () => end('open'));
    socket.on('error', (error: NodeJS.ErrnoException) => end(error.code ?? 'error'));
    socket.send('x', port, host);
  });
}

async function hold(request: ChildRequest): Promise<string> {
  const socket = openTo(request);
  held.set(`${request.host} ${request.port}`, socket);
  return echo(socket, request.milliseconds ?? WAIT_MS);
}

function answer(request: ChildRequest): Promise<string> {
  switch (request.op) {
    case 'listen':
      return listen(request.port);
    case 'listenUdp':
      return listenUdp(request.port);
    case 'connect':
      return tryConnection(request);
    case 'ask':
      return ask(request);
    case 'hold':
      return hold(request);
    case 'say': {
      const socket = held.get(`${request.host} ${request.port}`);
      return socket ? echo(socket, request.milliseconds ?? WAIT_MS) : Promise.resolve('none');
    }
  }
}

if (process.argv[1]?.endsWith('namespace-child.js')) {
  const lines = createInterface({ input: process.stdin });
  lines.on('line', (line) => {
    const request = JSON.parse(line) as ChildRequest;
    answer(request)
      .catch((error: unknown) => String(error))
      .then((result) => process.stdout.write(`${JSON.stringify({ id: request.id, result })}\n`))
      .catch(() => process.exit(1));
  });
  lines.on('close', () => process.exit(0));
}
