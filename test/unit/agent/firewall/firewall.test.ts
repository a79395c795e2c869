import { expect } from 'chai';

import { FirewallRefused, FirewallUnsupported } from '../../../../agent/firewall/nft-program.js';
import { DENY, failureOf, FirewallMachine, ISOLATE, ROUTE } from '../../../support/firewall-machine.js';

describe('the firewall of the agent', () => {
  let machine: FirewallMachine;
  beforeEach(() => (machine = new FirewallMachine()));

  it('touches nothing while nothing is wanted, and no table that it did not make', async () => {
    const firewall = machine.start({ check: fail, load: fail, unload: fail, stands: fail });
    await firewall.apply();
    expect(firewall.report()).to.include({ state: 'applied' });
    expect([firewall.part, machine.kinds, machine.kept]).to.deep.equal([undefined, [], undefined]);
    expect(await firewall.admit('manager.example', 4120)).to.equal(undefined);
  });

  it('waits for names that nobody answers for one deadline, however many they are', async () => {
    const proxies = [{ url: 'http://one.example:3128' }, { url: 'http://two.example:3128' }];
    machine.wish = { ...machine.wish, routes: { inForce: { ...ROUTE, proxies } } };
    machine.isDeaf = true;
    const isolating = machine.start().isolate(ISOLATE);
    await machine.clock.advance(5000);
    await isolating;
    expect(machine.loaded).not.to.equal(undefined);
  });

  it('takes no tables for lost that are being made anew', async () => {
    machine.want(DENY);
    const firewall = machine.start();
    await firewall.apply();
    let goOn = (): void => undefined;
    const { load } = machine.filter;
    machine.filter.load = async (script) => {
      await load(script);
      await new Promise<void>((resolve) => (goOn = resolve));
    };
    machine.want(DENY, { ...DENY, direction: 'outgoing' });
    const applying = firewall.apply();
    await machine.clock.advance(1);
    expect(machine.loads, 'being loaded').to.equal(2);
    const end = new AbortController();
    const watching = firewall.watch(end.signal);
    end.abort();
    await machine.clock.advance(1);
    goOn();
    await applying;
    await watching;
    expect([machine.loads, machine.kinds]).to.deep.equal([2, ['firewall-applied']]);
  });

  it('loads again what another program took away, and says so', async () => {
    machine.want(DENY);
    const firewall = machine.start();
    await firewall.apply();
    machine.loaded = undefined;
    const end = new AbortController();
    const watching = firewall.watch(end.signal);
    end.abort();
    await watching;
    expect(machine.loaded).not.to.equal(undefined);
    expect(machine.kinds).to.deep.equal(['firewall-restored']);
  });

  it('goes on after a wish that cannot be told', async () => {
    machine.want(DENY);
    const firewall = machine.start();
    const { wish } = machine;
    machine.wish = undefined as never;
    await firewall.apply();
    machine.wish = wish;
    await firewall.apply();
    expect(firewall.report().state).to.equal('applied');
    expect(machine.loads).to.equal(1);
  });

  it('loads a set once, with what its manager is called now, and takes it away again', async () => {
    machine.want(DENY);
    const firewall = machine.start();
    await firewall.apply();
    await firewall.apply();
    expect(machine.loads).to.equal(1);
    expect(machine.loaded?.text).to.contain('ip daddr { 10.0.0.1 } meta l4proto { 6 } th dport { 4120 } accept');
    expect(machine.loaded?.text).to.contain('ip daddr { 10.0.0.53 } meta l4proto { 6, 17 } th dport { 53 } accept');
    const text = machine.loaded?.text;
    expect(machine.kept).to.deep.equal({ loaded: { isIsolation: false, text }, rules: [DENY], listeners: [] });
    expect(machine.firewall).to.deep.include({ addresses: { 'manager.example': ['10.0.0.1'] } });
    expect(firewall.part).to.include({ name: 'firewall', state: 'online' });
    machine.want();
    await firewall.apply();
    expect([machine.loaded, machine.kept, firewall.part]).to.deep.equal([undefined, undefined, undefined]);
  });

  it('takes away after a restart what a former life loaded', async () => {
    machine.want(DENY);
    await machine.start().apply();
    machine.want();
    await machine.start().apply();
    expect(machine.loaded).to.equal(undefined);
  });

  it('lets a connection pass to where its name leads now before it is opened, and remembers the former address', async () => {
    machine.want(DENY);
    const firewall = machine.start();
    await firewall.apply();
    machine.names = { 'manager.example': ['10.0.0.2', 'fd00::2'] };
    expect(await firewall.admit('manager.example', 4120)).to.deep.equal(['10.0.0.2', 'fd00::2']);
    expect(machine.loads).to.equal(2);
    for (const address of ['ip daddr { 10.0.0.1 }', 'ip daddr { 10.0.0.2 }', 'ip6 daddr { fd00:0:0:0:0:0:0:2 }'])
      expect(machine.loaded?.text).to.contain(address);
    await firewall.admit('manager.example', 4120);
    expect(machine.loads).to.equal(2);
    machine.names = {};
    expect((await failureOf(firewall.admit('manager.example', 4120))).message).to.equal('ENOTFOUND');
  });

  it('lets a proxy that is tried out pass, for a while', async () => {
    machine.want(DENY);
    const firewall = machine.start();
    await firewall.apply();
    expect(await firewall.admit('10.0.0.9', 3128)).to.deep.equal(['10.0.0.9']);
    expect(machine.loaded?.text).to.contain('ip daddr { 10.0.0.9 } meta l4proto { 6 } th dport { 3128 } accept');
    await machine.clock.advance(60_001);
    await firewall.apply();
    expect(machine.loaded?.text).to.not.contain('10.0.0.9');
  });

  it('knows at a boot what names led to before, where they cannot be asked for', async () => {
    machine.want(DENY);
    await machine.start().apply();
    machine.names = {};
    machine.loaded = undefined;
    await machine.start().apply();
    expect(machine.loaded).to.have.property('text').that.contains('ip daddr { 10.0.0.1 }');
  });

  it('keeps the former set where one is refused, and tells it once', async () => {
    machine.want(DENY);
    const firewall = machine.start();
    await firewall.apply();
    const former = machine.loaded;
    const digest = firewall.report().digest;
    machine.want(DENY, { ...DENY, direction: 'outgoing' });
    machine.failure = new FirewallRefused('no');
    await firewall.apply();
    await firewall.apply();
    expect(machine.loaded).to.equal(former);
    expect(firewall.report()).to.deep.equal({ state: 'failed', digest, detail: 'no' });
    expect(firewall.part).to.include({ state: 'offline', detail: 'failed: no' });
    expect(firewall.failure).to.equal('no');
    machine.failure = undefined;
    await firewall.apply();
    expect(firewall.report().state).to.equal('applied');
    expect(machine.kinds).to.deep.equal(['firewall-failed', 'firewall-applied']);
  });

  it('says that the settings before were reverted for its sake', async () => {
    const firewall = machine.start();
    machine.wish = { ...machine.wish, reverted: 'no such thing' };
    await firewall.apply();
    expect(firewall.report()).to.include({ state: 'failed', detail: 'no such thing' });
  });

  for (const [name, hasFilter] of [
    ['without the capability', true],
    ['that was told to keep its hands off', false],
  ] as const)
    it(`goes on ${name}, and isolates nothing`, async () => {
      machine.failure = new FirewallUnsupported('no capability');
      const firewall = hasFilter ? machine.start() : machine.start(null);
      await firewall.apply();
      expect(firewall.part).to.equal(undefined);
      expect([firewall.status.state, firewall.report().state], 'nothing is wanted').to.deep.equal(
        hasFilter ? ['applied', 'applied'] : ['unsupported', 'unsupported'],
      );
      machine.want(DENY);
      await firewall.apply();
      expect(firewall.part).to.include({ state: 'offline' });
      expect(firewall.report().state).to.equal('unsupported');
      expect(firewall.failure).to.equal(undefined);
      expect((await failureOf(firewall.isolate(ISOLATE))).reason).to.equal('not-supported');
      expect(machine.isolation).to.equal(undefined);
      expect(machine.kinds).to.deep.equal(['firewall-unsupported']);
    });

  it('keeps the last rules in force after its settings were lost, until it is told others', async () => {
    machine.want(DENY);
    await machine.start().apply();
    const { generation } = machine.loaded!;
    machine.wish = { ...machine.wish, rules: undefined };
    const firewall = machine.start();
    await firewall.apply();
    expect(firewall.report()).to.include({ state: 'failed' });
    expect(machine.loaded).to.have.property('generation', generation);
    await firewall.isolate(ISOLATE);
    await firewall.release('command');
    expect(machine.loaded).to.have.property('generation', generation);
    machine.want();
    await firewall.apply();
    expect([machine.loaded, firewall.report().state]).to.deep.equal([undefined, 'applied']);
  });

  it('takes away what another identity left, and what is not known', async () => {
    machine.want(DENY);
    await machine.start().apply();
    machine.kept = {};
    machine.wish = { ...machine.wish, rules: undefined };
    const firewall = machine.start();
    await firewall.apply();
    expect([machine.loaded, machine.kept, firewall.report().state]).to.deep.equal([undefined, undefined, 'applied']);
  });
});

async function fail(): Promise<never> {
  throw new Error('nothing was to be asked of it');
}
