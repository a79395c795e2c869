import { expect } from 'chai';
import { createServer, type AddressInfo, type Server } from 'node:net';
import { Worker } from 'node:worker_threads';
import { createLog } from '../../../lib/log.js';
import { createSystemClock } from '../../../lib/clock.js';
import { createOwnPath } from '../../../server/listening/own-path.js';
import { createSelfDialler } from '../../../server/listening/self-dialler.js';
import { startAgentPort, type AgentPort } from '../../support/agent-port.js';
import { useDatabase } from '../../support/database.js';
import { freePort } from '../../support/free-port.js';
import { eventually } from '../../support/poll.js';

const host = '127.0.0.1';
const log = createLog({ name: 'test', level: 'silent' });

describe('dialling the own agent port from another thread', () => {
  const database = useDatabase();
  const dialler = createSelfDialler({ log });
  let agents: AgentPort;
  let mute: Server;

  before(async () => {
    await dialler.start();
    agents = await startAgentPort(database.pool);
    // The kernel completes the connection; nobody ever answers it.
    mute = createServer(() => undefined);
    await new Promise<void>((resolve) => mute.listen(0, host, resolve));
  });

  after(async () => {
    await dialler.stop();
    await agents?.stop();
    mute?.close();
  });

  it('completes a handshake with a port that serves', async () => {
    expect(await dialler.dial({ host, port: agents.server.port() }, 5000)).to.deep.include({
      fault: null,
      isVoid: false,
    });
  });

  it('tells a port that nobody listens on from one that nobody answers on', async () => {
    const closed = await dialler.dial({ host, port: await freePort() }, 5000);
    expect(closed).to.deep.include({ fault: 'connect ECONNREFUSED', isVoid: false });
    const { port } = mute.address() as AddressInfo;
    const silent = await dialler.dial({ host, port }, 300);
    expect(silent.fault).to.equal('handshake timeout');
    expect(silent.tookMs).to.be.at.least(299);
  });

  it('turns while this event loop stands still', async () => {
    const begunMs = (await eventually('it turns', () => dialler.turnedMs())) ?? 0;
    const until = performance.now() + 1200;
    while (performance.now() < until);
    expect((dialler.turnedMs() ?? 0) - begunMs).to.be.at.least(600);
  });

  it('makes one path of port, database and clock', async () => {
    const clock = createSystemClock();
    const port = { host, port: agents.server.port() };
    const sql = { query: async () => [] };
    const closed = { host, port: await freePort() };
    const away = { query: () => Promise.reject(new Error('away')) };
    const check = (deps: { sql?: typeof sql; port?: typeof port; boot?: () => number }) =>
      createOwnPath({
        dialler,
        port: () => deps.port ?? port,
        sql: deps.sql ?? sql,
        clock: { ...clock, boot: deps.boot ?? (() => clock.boot()) },
      }).check();
    expect(await check({})).to.equal(null);
    expect(await check({ port: closed })).to.equal('agent port: connect ECONNREFUSED');
    expect(await check({ sql: away })).to.equal('database: failed');
    let looks = 0;
    const boot = () => clock.boot() + 30_000 * looks++;
    expect(await check({ boot })).to.match(/^clock: the boot clock parted by (29|30)\d{3} ms$/);
  });

  it('begins another thread after one that died', async () => {
    const impossible = { host, port: 70_000 };
    const { port } = mute.address() as AddressInfo;
    const waiting = dialler.dial({ host, port }, 60_000);
    expect(await dialler.dial(impossible, 5000)).to.deep.include({ isVoid: true });
    expect(await waiting).to.deep.include({ isVoid: true });
    expect(dialler.turnedMs()).to.equal(undefined);
    const next = await dialler.dial({ host, port: agents.server.port() }, 5000);
    expect(next).to.deep.include({ fault: null, isVoid: false });
  });

  it('says that nothing was looked at where no thread begins any more', async () => {
    let threads = 1;
    const begin = () => {
      if (threads === 0) throw new Error('no thread left');
      threads -= 1;
      return new Worker('', { eval: true });
    };
    const other = createSelfDialler({ log, begin });
    await other.start();
    await eventually('the thread has ended', () => other.turnedMs() === undefined);
    const target = { host, port: agents.server.port() };
    expect(await other.dial(target, 5000)).to.deep.include({ isVoid: true });
    await other.stop();
  });

  it('answers nothing after its end', async () => {
    const other = createSelfDialler({ log });
    await other.start();
    const waiting = other.dial({ host, port: (mute.address() as AddressInfo).port }, 60_000);
    await other.stop();
    expect(await waiting).to.deep.include({ isVoid: true });
    expect(await other.dial({ host, port: agents.server.port() }, 5000)).to.deep.include({ isVoid: true });
    expect(other.turnedMs()).to.equal(undefined);
  });
});
