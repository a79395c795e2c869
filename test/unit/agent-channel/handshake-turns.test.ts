import { expect } from 'chai';
import { EventEmitter } from 'node:events';
import type { Server, Socket } from 'node:net';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { takeHandshakesInTurns } from '../../../server/agent-channel/handshake-turns.js';

describe('handshakes in turns', () => {
  const PER_TURN = 2;
  let server: EventEmitter;
  let begun: string[];
  const connect = (remoteAddress: string, name: string, destroyed = false): EventEmitter => {
    const socket = Object.assign(new EventEmitter(), { remoteAddress, name, destroyed });
    server.emit('connection', socket);
    return socket;
  };

  beforeEach(() => {
    server = new EventEmitter();
    begun = [];
    server.on('connection', (socket: Socket & { name: string }) => void begun.push(socket.name));
    takeHandshakesInTurns(server as Server, PER_TURN);
  });

  it('begin a few per turn of the event loop, all in the end', async () => {
    for (let index = 0; index < 5; index += 1) connect('192.0.2.1', `a${index}`);
    const counts: number[] = [begun.length];
    while (begun.length < 5) {
      await nextTurn();
      counts.push(begun.length);
    }
    for (const [index, count] of counts.entries()) expect(count - (counts[index - 1] ?? 0)).to.be.at.most(PER_TURN);
    expect(begun).to.deep.equal(['a0', 'a1', 'a2', 'a3', 'a4']);
  });

  it('let another address through before the second of a crowd', async () => {
    for (let index = 0; index < 100; index += 1) connect('192.0.2.1', `a${index}`);
    connect('192.0.2.2', 'b');
    connect('192.0.2.3', 'c');
    while (begun.length < 102) await nextTurn();
    expect(begun.indexOf('b')).to.be.lessThan(3);
    expect(begun.indexOf('c')).to.be.lessThan(4);
    expect(begun.filter((name) => name.startsWith('a'))).to.deep.equal(Array.from({ length: 100 }, (_, n) => `a${n}`));
  });

  it('survive a connection that breaks while it waits', async () => {
    connect('192.0.2.1', 'gone', true).emit('error', new Error('ECONNRESET'));
    connect('192.0.2.1', 'next');
    while (begun.length < 1) await nextTurn();
    expect(begun).to.deep.equal(['next']);
  });
});
