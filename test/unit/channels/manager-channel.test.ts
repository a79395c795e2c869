import { expect } from 'chai';
import { EventEmitter } from 'node:events';
import type { WebSocket } from 'ws';
import { createLog } from '../../../lib/log.js';
import { Problem } from '../../../lib/problem.js';
import { createSystemRandom } from '../../../lib/random.js';
import { writeReport } from '../../../protocol/channel-messages.js';
import type { Orders } from '../../../protocol/heartbeat-messages.js';
import { ManagerChannel } from '../../../server/channels/manager-channel.js';

class FakeSocket extends EventEmitter {
  pings = 0;
  readonly sent: string[] = [];
  readonly closes: { readonly code: number; readonly reason: string }[] = [];

  ping(): void {
    this.pings += 1;
    this.emit('pong');
  }

  send(text: string): void {
    this.sent.push(text);
  }

  close(code: number, reason: string): void {
    this.closes.push({ code, reason });
  }
}

/** A channel with the longest rhythm of PINGs that a policy can ask for, of which a report was stored. */
async function hold() {
  const socket = new FakeSocket();
  let isValid = true;
  let looks = 0;
  const peer = {
    computerId: '3b9a2f0e-6f6b-4a5e-9f39-0c0c0c0c0c0c',
    serial: '0a',
    assertValid() {
      looks += 1;
      if (!isValid) throw new Problem('clock-skew');
    },
    admitMessage: () => undefined,
    submit: async () => ({}) as Orders,
    bytesRead: () => 0,
    bytesUnread: () => 0,
  };
  const channel = new ManagerChannel(socket as unknown as WebSocket, peer, {
    random: { ...createSystemRandom(), fraction: () => 0.999 },
    log: createLog({ name: 'test', level: 'silent' }),
    rhythm: { pingIntervalSeconds: 300, pongTimeoutSeconds: 60 },
    onProven: () => undefined,
    onAnswered: () => undefined,
    onEnded: () => undefined,
    onUnansweredWake: () => undefined,
  });
  socket.emit(
    'message',
    Buffer.from(writeReport('5f0c9a4e-1d53-4b7e-8a53-0d6c1f0f5a11', '{"protocolVersion":1}')),
    false,
  );
  await new Promise((resolve) => setImmediate(resolve));
  return { channel, socket, looks: () => looks, expire: () => void (isValid = false) };
}

describe('a held channel whose certificate comes to its end', () => {
  it('is cut within 30 seconds, however seldom PINGs are wanted', async () => {
    const { channel, socket, expire } = await hold();
    expect(socket.sent).to.have.length(1);
    for (let second = 0; second < 100; second += 1) channel.tick();
    expect(socket.closes).to.deep.equal([]);
    expire();
    let seconds = 0;
    while (socket.closes.length === 0 && seconds < 300) {
      channel.tick();
      seconds += 1;
    }
    expect(socket.closes).to.deep.equal([{ code: 4403, reason: 'certificate-expired' }]);
    expect(seconds).to.be.at.most(30);
    expect(socket.pings).to.equal(0);
  });

  it('stays while it is good', async () => {
    const { channel, socket, looks } = await hold();
    for (let second = 0; second < 900; second += 1) channel.tick();
    expect(socket.closes).to.deep.equal([]);
    expect(socket.pings).to.be.within(2, 3);
    expect(looks()).to.be.at.least(30);
  });
});
