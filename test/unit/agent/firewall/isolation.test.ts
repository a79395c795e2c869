import { expect } from 'chai';

import type { Firewall } from '../../../../agent/firewall/firewall.js';
import { FirewallRefused, type PacketFilter } from '../../../../agent/firewall/nft-program.js';
import type { FirewallRule } from '../../../../policies/firewall-rules.js';
import { releaseDigestOf } from '../../../../protocol/release-code.js';
import {
  DENY,
  failureOf,
  FirewallMachine,
  ISOLATE,
  NO_MEMORY,
  RELEASE_CODE,
} from '../../../support/firewall-machine.js';

describe('the isolation of a computer, at its agent', () => {
  let machine: FirewallMachine;
  beforeEach(() => (machine = new FirewallMachine()));

  it('leaves whatever stands while nobody can read whether the computer is isolated', async () => {
    const before = machine.start();
    await before.isolate(ISOLATE);
    const { loads } = machine;
    const kept = [machine.isolation, machine.firewall] as const;
    [machine.isRead, machine.isolation, machine.firewall] = [false, undefined, { ...NO_MEMORY }];
    const firewall = machine.start();
    await firewall.apply();
    expect(machine.loaded).not.to.equal(undefined);
    expect(firewall.part).to.include({ name: 'firewall', state: 'offline' });
    expect(machine.kinds.at(-1)).to.equal('firewall-failed');
    [machine.isRead, machine.isolation, machine.firewall] = [true, ...kept];
    await firewall.apply();
    expect(machine.loads).to.equal(loads + 1);
    expect(firewall.status).to.deep.include({ state: 'applied', isolated: { since: kept[0]?.since, commandId: 'c1' } });
  });

  it('cuts off again a computer that is known to be isolated, though nothing else can be read', async () => {
    await machine.start().isolate(ISOLATE);
    const { text } = machine.loaded!;
    [machine.isRead, machine.loaded, machine.firewall] = [false, undefined, NO_MEMORY];
    const firewall = machine.start();
    await firewall.apply();
    expect(machine.loaded).to.have.property('text', text);
    expect(firewall.report()).to.include({ state: 'applied', isolatedBy: 'c1' });
  });

  it('isolates, over restarts, and ends it by command under the rules that it had', async () => {
    machine.want(DENY);
    const firewall = machine.start();
    await firewall.apply();
    const former = machine.loaded?.generation;
    await firewall.isolate(ISOLATE);
    expect(machine.loaded?.text).to.contain('chain forwarded');
    expect(firewall.report()).to.include({ state: 'applied', isolatedBy: 'c1' });
    const isolated = machine.loaded?.generation;
    machine.loaded = undefined;
    const next = machine.start();
    await next.apply();
    expect(machine.loaded).to.have.property('generation', isolated);
    expect(next.status.isolated).to.deep.equal({ since: machine.isolation?.since, commandId: 'c1' });
    expect(await next.release('command', 'c2')).to.equal(true);
    expect(machine.loaded).to.have.property('generation', former);
    expect(await next.release('command', 'c3')).to.equal(false);
    expect(machine.kinds).to.deep.equal(['isolated', 'isolation-ended']);
  });

  it('leaves all as it was where it cannot be isolated, or released', async () => {
    const firewall = machine.start();
    machine.failure = new FirewallRefused('no');
    expect((await failureOf(firewall.isolate(ISOLATE))).reason).to.equal('firewall-failed');
    expect([machine.isolation, machine.loaded]).to.deep.equal([undefined, undefined]);
    machine.failure = undefined;
    await firewall.isolate(ISOLATE);
    machine.failure = new FirewallRefused('no');
    expect((await failureOf(firewall.releaseByCode(RELEASE_CODE))).code).to.equal('unavailable');
    expect(firewall.report()).to.include({ isolatedBy: 'c1' });
    machine.failure = undefined;
    await firewall.releaseByCode(RELEASE_CODE);
    expect(machine.loaded).to.equal(undefined);
  });

  describe('whose rules are refused when an isolation ends', () => {
    const OUT: FirewallRule = { ...DENY, direction: 'outgoing', protocol: 'UDP' };
    const REFUSED = 'th dport { 6666 }';
    const BAD: FirewallRule = { ...DENY, protocol: 'TCP', destination: { ports: [6666] } };
    const isolatedUnder = async (...rules: readonly FirewallRule[]): Promise<Firewall> => {
      machine.want(...rules);
      const firewall = machine.start();
      await firewall.apply();
      await firewall.isolate(ISOLATE);
      machine.want(BAD);
      await firewall.apply();
      expect(firewall.failure, 'nobody looks at rules that are not in force').to.equal(undefined);
      machine.refused = REFUSED;
      return firewall;
    };
    const expectFailed = (firewall: Firewall): void => {
      expect(machine.isolation).to.equal(undefined);
      expect(firewall.report()).to.include({ state: 'failed', detail: `no ${REFUSED}` });
      expect(firewall.status.isolated).to.equal(null);
      expect(machine.kinds).to.include.members(['firewall-failed', 'isolation-ended']);
    };

    it('has the last in force that were taken, and tells of those that were not', async () => {
      const firewall = await isolatedUnder(OUT);
      expect(await firewall.release('command', 'c2')).to.equal(true);
      expectFailed(firewall);
      expect(machine.loaded?.text).to.contain('meta l4proto { 17 } drop').and.not.contain('chain forwarded');
      machine.names = { 'manager.example': ['10.0.0.77'] };
      await firewall.admit('manager.example', 4120);
      expect(machine.loaded?.text, 'the way to the manager goes with it').to.contain('10.0.0.77');
      machine.refused = undefined;
      await firewall.apply();
      expect(machine.loaded?.text).to.contain(REFUSED);
      expect(firewall.report().state).to.equal('applied');
    });

    it('has no rule in force where none was before, and is ended by its code', async () => {
      const firewall = await isolatedUnder();
      await firewall.releaseByCode(RELEASE_CODE);
      expectFailed(firewall);
      expect([machine.loaded, machine.kept]).to.deep.equal([undefined, undefined]);
    });

    it('has the listener’s own rule alone where the former rules are refused as well, or none at all', async () => {
      machine.wish = { ...machine.wish, listeners: [{ port: 4118, sources: ['10.9.9.0/24'] }] };
      const firewall = await isolatedUnder(OUT);
      const { check } = machine.filter;
      const isRefused = (text: string) => /forwarded|l4proto \{ 17 \} drop/.test(text);
      machine.filter.check = async (script) =>
        isRefused(script.text) ? Promise.reject(new FirewallRefused('no')) : check(script);
      await firewall.release('command');
      expectFailed(firewall);
      expect(machine.loaded?.text).to.contain('10.9.9.0').and.not.contain('forwarded');
      await isolatedAgain(firewall, check);
      machine.filter.check = () => Promise.reject(new FirewallRefused('nothing'));
      await firewall.release('command');
      expect([machine.isolation, machine.loaded]).to.deep.equal([undefined, undefined]);
    });
    const isolatedAgain = async (firewall: Firewall, check: PacketFilter['check']): Promise<void> => {
      [machine.refused, machine.filter.check] = [undefined, check];
      await firewall.isolate(ISOLATE);
      expect(machine.loaded?.text).to.contain('forwarded');
    };

    it('is opened by the next start where the agent ended in between', async () => {
      await isolatedUnder(OUT);
      machine.isolation = undefined;
      const next = machine.start();
      await next.apply();
      expect(next.report()).to.include({ state: 'failed', detail: `no ${REFUSED}` });
      expect(machine.loaded?.text).to.contain('meta l4proto { 17 } drop').and.not.contain('forwarded');
    });
  });

  for (const [name, isRead] of [
    ['after its settings were lost', true],
    ['while they cannot be read', false],
  ] as const)
    it(`keeps its port as narrow as it was through an isolation ${name}`, async () => {
      machine.wish = { ...machine.wish, listeners: [{ port: 4118, sources: ['10.9.9.0/24'] }] };
      await machine.start().apply();
      const { generation } = machine.loaded!;
      // The defaults.
      machine.wish = { ...machine.wish, rules: undefined, listeners: [{ port: 4118, sources: [] }] };
      machine.isRead = isRead;
      const firewall = machine.start();
      await firewall.apply();
      expect(machine.loaded).to.have.property('generation', generation);
      await firewall.isolate(ISOLATE);
      expect(machine.loaded?.text).to.contain('forwarded');
      await firewall.release('command');
      expect(machine.loaded).to.have.property('generation', generation);
      [machine.isRead, machine.wish] = [true, { ...machine.wish, rules: [] }];
      await firewall.apply();
      expect(machine.loaded, 'the settings open it').to.equal(undefined);
    });

  it('takes the right code once, however it is typed, and few wrong ones', async () => {
    const firewall = machine.start();
    await firewall.isolate(ISOLATE);
    expect((await failureOf(firewall.releaseByCode('0'))).code).to.equal('release-code-refused');
    await firewall.releaseByCode(' abcde fghjk-MNPQR STVWX');
    expect((await failureOf(firewall.releaseByCode(RELEASE_CODE))).code).to.equal('not-isolated');
    await firewall.isolate({ commandId: 'c2', allow: [] });
    for (const code of ['1', '2', RELEASE_CODE])
      expect((await failureOf(firewall.releaseByCode(code))).code).to.equal('release-code-refused');
    expect((await failureOf(firewall.releaseByCode(RELEASE_CODE))).code).to.equal('too-many-requests');
    expect(machine.kinds.filter((kind) => kind === 'release-code-refused')).to.have.length(4);
    await machine.clock.advance(12_000);
    expect((await failureOf(firewall.releaseByCode(RELEASE_CODE))).code).to.equal('release-code-refused');
  });

  it('ends no isolation that is being begun by the code of the one before', async () => {
    const firewall = machine.start();
    await firewall.isolate(ISOLATE);
    const { load } = machine.filter;
    let goOn = (): void => undefined;
    const held = new Promise<void>((resolve) => (goOn = resolve));
    machine.filter.load = async (script) => {
      await held;
      await load(script);
    };
    const other = releaseDigestOf('00000-00000-00000-00001');
    const begun = firewall.isolate({ commandId: 'c2', allow: [{ ip: '10.0.0.7' }], releaseDigest: other });
    const ended = failureOf(firewall.releaseByCode(RELEASE_CODE));
    goOn();
    await begun;
    expect((await ended).code).to.equal('release-code-refused');
    expect(machine.isolation).to.include({ commandId: 'c2' });
    expect(machine.loaded?.text).to.contain('10.0.0.7');
  });

  it('ends by command an isolation that stands though neither disk nor agent knows of it', async () => {
    await machine.start().isolate(ISOLATE);
    // Neither was stored, and the disk cannot be read by the next.
    [machine.isolation, machine.isRead, machine.kept] = [undefined, false, undefined];
    const firewall = machine.start();
    await firewall.apply();
    expect(machine.loaded?.text).to.contain('chain forwarded');
    expect(await firewall.release('command')).to.equal(true);
    expect(machine.loaded?.text ?? '').not.to.contain('chain forwarded');
    expect(await firewall.release('command')).to.equal(false);
  });

  it('lets its manager dial an isolated computer from where it was recognised', async () => {
    machine.wish = { ...machine.wish, listeners: [{ port: 4118, sources: [] }] };
    const firewall = machine.start();
    await firewall.dialledFrom('::ffff:10.9.9.9');
    await firewall.isolate(ISOLATE);
    expect(machine.loaded?.text).to.contain('ip saddr { 10.9.9.9 } meta l4proto { 6 } th dport { 4118 } accept');
    await firewall.dialledFrom('10.9.9.10');
    expect(machine.loaded?.text).to.contain('10.9.9.10');
    expect(machine.firewall.dialledFrom).to.deep.equal(['10.9.9.10', '10.9.9.9']);
    await firewall.dialledFrom('fe80::1%eth0');
    expect(machine.loaded?.text).to.contain(
      'ip6 saddr { fe80:0:0:0:0:0:0:1 } meta l4proto { 6 } th dport { 4118 } accept',
    );
    // As an older agent noted it: it is nobody, not everybody.
    machine.firewall = { ...machine.firewall, dialledFrom: ['fe80::2%eth0'] };
    await firewall.apply();
    const open = machine.loaded?.text.split('\n').filter((line) => line.includes('dport { 4118 }')) ?? [];
    expect(open).to.have.length(1);
    expect(open[0]).to.contain('saddr { 10.0.0.1 }');
  });
});
