import { expect } from 'chai';
import type { Lookup } from '../../../server/dials/name-resolver.js';
import { createDialTransportWorld, outcomeOf, type DialTransportWorld } from '../../support/dial-transport-world.js';

/** A part of loopback that is opened on purpose: the private network of these tests. */
const OPENED = { allowed: ['127.0.2.0/24'] };
const AGENT = '127.0.2.7';
const LOCAL = '127.0.0.1';

describe('Where the manager connects to when it dials', function () {
  this.timeout(30_000);
  let world: DialTransportWorld;

  before(async () => {
    world = await createDialTransportWorld();
  });
  afterEach(() => world.reset());
  after(() => world.end());

  /** Answers in turn, the last one for ever. */
  function answering(...answers: readonly (readonly string[])[]): { lookup: Lookup; asked: string[] } {
    const asked: string[] = [];
    const lookup: Lookup = async (host) => {
      asked.push(host);
      return (answers[asked.length - 1] ?? answers.at(-1) ?? []).map((address) => ({ address }));
    };
    return { lookup, asked };
  }
  const dial = async (host: string, port: number, lookup?: Lookup) =>
    outcomeOf(
      await world.dial({ host, port, isLoopbackObserved: false }, { ...OPENED, ...(lookup ? { lookup } : {}) }),
    );

  /** The same port on the agent's address and on loopback, where something of the manager's own may listen. */
  async function listenOnBoth() {
    const agent = await world.listen({ host: AGENT });
    const local = await world.listen({ host: LOCAL, port: agent.port });
    return { agent, local, port: agent.port };
  }

  it('is the address that was checked, whatever the name is answered a moment later', async () => {
    const { agent, local, port } = await listenOnBoth();
    const { lookup, asked } = answering([AGENT], [LOCAL]);
    expect(await dial('web1.example', port, lookup)).to.equal('answered');
    expect(asked, 'one question for check and connection').to.deep.equal(['web1.example']);
    expect(await dial('web1.example', port, lookup)).to.equal('address-refused');
    expect([agent.connections.length, local.connections.length]).to.deep.equal([1, 0]);
  });

  it('is, of several answers, only one that was passed, and no other when that one fails', async () => {
    const { agent, local, port } = await listenOnBoth();
    const { lookup } = answering([LOCAL, '::1', '169.254.169.254', `::ffff:${LOCAL}`, AGENT]);
    expect(await dial('web1.example', port, lookup)).to.equal('answered');
    await agent.close();
    expect(await dial('web1.example', port, lookup)).to.equal('refused');
    expect(local.connections).to.have.length(0);
  });

  const answers: readonly (readonly [string, string])[] = [
    ['metadata.google.internal', '169.254.169.254'],
    ['metadata', '169.254.169.254'],
    ['instance-data', '169.254.169.254'],
    ['instance-data.ec2.internal', 'fd00:ec2::254'],
    ['metadata.google.internal.', 'fd20:ce::254'],
    ['localhost', LOCAL],
    ['localhost', '::1'],
    ['LOCALHOST.', '127.255.255.254'],
    ['LocalHost.localdomain', `::ffff:${LOCAL}`],
    ['127.0.0.1.nip.example', LOCAL],
    ['any.example', '0.0.0.0'],
    ['any.example', '::'],
    ['mapped.example', '::ffff:7f00:1'],
    ['nat64.example', '64:ff9b::7f00:1'],
    ['tunnel.example', '2002:7f00:1::1'],
    ['near.example', 'fe80::1'],
    ['all.example', '224.0.0.1'],
    ['all.example', 'ff02::1'],
    ['out.example', '8.8.8.8'],
    // A private range, but another than the one that is open.
    ['else.example', '10.0.0.1'],
  ];
  it('is nothing that a name leads to beyond the ranges', async () => {
    const { agent, local, port } = await listenOnBoth();
    for (const [name, address] of answers)
      expect(await dial(name, port, answering([address]).lookup), `${name} is ${address}`).to.equal('address-refused');
    expect([agent.connections.length, local.connections.length]).to.deep.equal([0, 0]);
  });

  it('is no address in disguise, which nobody is even asked for', async () => {
    const { local, port } = await listenOnBoth();
    const { lookup, asked } = answering([AGENT]);
    const disguises = [
      '0177.0.0.1',
      '0x7f.0.0.1',
      '0x7f000001',
      '017700000001',
      '2130706433',
      '127.1',
      '127.0.1',
      '0',
      '0x0',
      '127.0.0.1.',
      '1２7.0.0.1',
      '127。0。0。1',
      'ⓛⓞⓒⓐⓛⓗⓞⓢⓣ',
      'loc\u00adalhost',
      'ⅿetadata.google.internal',
      '127.0.0.1%lo',
      '[::1]',
      '::1%lo',
      'user@127.0.2.7',
      '127.0.2.7/',
      '127.0.2.7#',
      'a b',
      '',
    ];
    for (const host of disguises)
      expect(await dial(host, port, lookup), JSON.stringify(host)).to.equal('address-refused');
    const literal = ['127.0.0.1', '::1', '::ffff:127.0.0.1', '::127.0.0.1', '0:0:0:0:0:ffff:7f00:1', '0.0.0.0', '::'];
    for (const host of literal) expect(await dial(host, port, lookup), host).to.equal('address-refused');
    expect(asked).to.deep.equal([]);
    expect(local.connections).to.have.length(0);
  });

  it('is asked of the real resolver of the system too', async () => {
    const { local, port } = await listenOnBoth();
    expect(await dial('localhost', port)).to.equal('address-refused');
    expect(local.connections).to.have.length(0);
  });

  for (const status of [300, 301, 302, 303, 307, 308])
    it(`does not change by an answer ${status} of the agent`, async () => {
      const elsewhere = await world.listen({ host: AGENT });
      const location = `https://${AGENT}:${elsewhere.port}/listener/v1/heartbeat`;
      const agent = await world.listen({ host: AGENT, mode: 'redirect', redirect: { status, location } });
      expect(await dial(AGENT, agent.port)).to.equal('protocol');
      expect([agent.connections.length, agent.calls.length]).to.deep.equal([1, 1]);
      expect(elsewhere.connections).to.have.length(0);
      expect(world.stored).to.have.length(0);
    });
});
