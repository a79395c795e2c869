import { connect as connectTcp, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';

/** What a server says to raw bytes; `status` is 0 when it closes the connection without an answer. */
export interface RawReply {
  readonly status: number;
  readonly head: string;
}

/** Sends the lines as a request head (CRLF and the empty line are added) and reads the head of the first answer. */
export function sendHead(url: string, lines: readonly string[], body = ''): Promise<RawReply> {
  return sendBytes(url, `${[...lines, '', ''].join('\r\n')}${body}`);
}

export function sendBytes(url: string, bytes: string): Promise<RawReply> {
  return new Promise((resolve) => {
    const socket = open(url);
    let head = '';
    const finish = (): void => {
      socket.destroy();
      resolve({ status: Number(/^HTTP\/1\.1 (\d{3})/.exec(head)?.[1] ?? 0), head: head.split('\r\n\r\n')[0] ?? '' });
    };
    socket.on('data', (data: Buffer) => {
      head += data.toString('latin1');
      if (head.includes('\r\n\r\n')) finish();
    });
    socket.once('error', finish).once('close', finish);
    socket.once(url.startsWith('https:') ? 'secureConnect' : 'connect', () => socket.write(bytes, 'latin1'));
  });
}

function open(url: string): Socket {
  const { hostname, port, protocol } = new URL(url);
  const target = { host: hostname.replace(/^\[|\]$/g, ''), port: Number(port) };
  return protocol === 'https:' ? connectTls({ ...target, rejectUnauthorized: false }) : connectTcp(target);
}
