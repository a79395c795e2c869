import { expect } from 'chai';
import fc from 'fast-check';

import { planIsolation, planRules, type Contact } from '../../../../agent/firewall/firewall-plan.js';
import { scriptOf } from '../../../../agent/firewall/nft-text.js';
import { effectiveSet } from '../../../../policies/firewall-set.js';
import { passesPlan, someRule, somePacket, type Packet } from '../../../support/firewall-packets.js';
import { runs } from '../../../support/property-runs.js';
import { passesByTheBook } from '../../policies/reference-firewall.js';

const NOBODY: Contact = { targets: [], resolvers: [], gateways: [] };
const MANAGER: Contact = {
  targets: [
    { address: '10.0.0.1', port: 4120 },
    { address: 'fd00::1', port: 4120 },
  ],
  resolvers: ['10.0.0.2'],
  gateways: ['10.0.1.1'],
};
const rules = fc.array(someRule, { maxLength: 6 });

describe('the chains of the firewall', () => {
  it('judge every packet as the rules say', () => {
    fc.assert(
      fc.property(rules, somePacket, (given, packet) => {
        expect(passesPlan(planRules(effectiveSet(given, []), NOBODY), packet)).to.equal(passesByTheBook(given, packet));
      }),
      runs(3000),
    );
  });

  it('let the agent reach its manager and its resolver, and be answered, whatever the rules', () => {
    const mac = '00:11:22:33:44:55';
    const own = (ip: string) => ({ ip, mac, port: 40_000 });
    const ways: readonly (readonly [string, string, number, number])[] = [
      ['10.0.0.9', '10.0.0.1', 4120, 6],
      ['fd00::9', 'fd00::1', 4120, 6],
      ['10.0.0.9', '10.0.0.2', 53, 17],
    ];
    fc.assert(
      fc.property(rules, fc.constantFrom(...ways), fc.boolean(), (given, [from, to, port, protocol], isTurned) => {
        const plan = planRules(effectiveSet(given, []), MANAGER);
        const peer = { ip: to, mac, port };
        const base = { isArp: false, protocol };
        const out: Packet = {
          ...base,
          direction: 'outgoing',
          source: own(from),
          destination: peer,
          state: 'new',
          isReply: isTurned,
        };
        const back: Packet = {
          ...base,
          direction: 'incoming',
          source: peer,
          destination: own(from),
          state: 'established',
          isReply: !isTurned,
        };
        expect([passesPlan(plan, out), passesPlan(plan, back)]).to.deep.equal([true, true]);
      }),
      runs(500),
    );
  });

  it('let neighbours, leases and the ARP of the next hop pass, whatever the rules', () => {
    const mac = '00:11:22:33:44:55';
    const end = (ip: string, port = 0) => ({ ip, mac, port });
    const base = { state: 'new', isReply: false, protocol: 17, isArp: false } as const;
    const packets: readonly Packet[] = [
      {
        ...base,
        direction: 'outgoing',
        protocol: 58,
        icmpType: 135,
        source: end('fd00::9'),
        destination: end('ff02::1'),
      },
      {
        ...base,
        direction: 'incoming',
        protocol: 58,
        icmpType: 134,
        source: end('fe80::1'),
        destination: end('ff02::1'),
      },
      { ...base, direction: 'outgoing', source: end('0.0.0.0', 68), destination: end('255.255.255.255', 67) },
      { ...base, direction: 'incoming', source: end('10.0.0.2', 67), destination: end('10.0.0.9', 68) },
      { ...base, direction: 'incoming', isArp: true, source: end('10.0.1.1'), destination: end('10.0.0.9') },
      { ...base, direction: 'outgoing', isArp: true, source: end('10.0.0.9'), destination: end('10.0.0.1') },
      {
        ...base,
        direction: 'incoming',
        isLoopback: true,
        source: end('127.0.0.1', 5),
        destination: end('127.0.0.1', 9),
      },
    ];
    fc.assert(
      fc.property(rules, fc.constantFrom(...packets), (given, packet) => {
        expect(passesPlan(planRules(effectiveSet(given, []), MANAGER), packet)).to.equal(true);
      }),
      runs(500),
    );
  });

  it('let anybody call the listener, unless a rule of the setting stands in for the hidden one', () => {
    fc.assert(
      fc.property(rules, somePacket, (given, some) => {
        const call: Packet = {
          ...some,
          direction: 'incoming',
          isArp: false,
          protocol: 6,
          destination: { ...some.destination, port: 4118 },
        };
        const set = effectiveSet(given, [{ port: 4118, sources: [] }]);
        const isReplaced = set.rules.some(({ hidden, action }) => hidden && action === 'deny');
        if (!isReplaced) expect(passesPlan(planRules(set, NOBODY), call)).to.equal(true);
      }),
      runs(1000),
    );
  });

  it('leave an isolated computer its manager, its allow-list and nothing else', () => {
    const plan = planIsolation({
      contact: MANAGER,
      dialledFrom: ['10.0.0.1'],
      listenerPorts: [4118],
      allow: [{ ip: '10.0.1.0/24', ports: [22], protocol: 'TCP' }],
    });
    const packet = (
      direction: Packet['direction'],
      [peer, peerPort]: readonly [string, number],
      [ownPort, state = 'new', protocol = 6]: readonly [number, Packet['state']?, number?],
    ) => {
      const there = { ip: peer, port: peerPort, mac: '' };
      const here = { ip: '10.0.0.9', port: ownPort, mac: '' };
      const [source, destination] = direction === 'incoming' ? [there, here] : [here, there];
      return passesPlan(plan, {
        direction,
        isArp: false,
        protocol,
        source,
        destination,
        state,
        isReply: state !== 'new',
      });
    };
    const table: readonly (readonly [string, boolean, boolean])[] = [
      ['to the manager', packet('outgoing', ['10.0.0.1', 4120], [40_000]), true],
      ['its answer', packet('incoming', ['10.0.0.1', 4120], [40_000, 'established']), true],
      ['a stranger by the port of the manager', packet('incoming', ['10.0.0.1', 4120], [40_000]), false],
      ['another port of the manager', packet('outgoing', ['10.0.0.1', 22], [40_000]), false],
      ['its dial', packet('incoming', ['10.0.0.1', 50_000], [4118]), true],
      ['what the listener answers', packet('outgoing', ['10.0.0.1', 50_000], [4118, 'established']), true],
      ['a dial of somebody else', packet('incoming', ['10.0.0.2', 50_000], [4118]), false],
      ['the resolver', packet('outgoing', ['10.0.0.2', 53], [40_000, 'new', 17]), true],
      ['another connection that is open', packet('outgoing', ['10.0.0.5', 443], [40_000, 'established']), false],
      ['what comes over it', packet('incoming', ['10.0.0.5', 443], [40_000, 'established']), false],
      ['a peer on the list, from here', packet('outgoing', ['10.0.1.7', 22], [40_000]), true],
      ['a peer on the list, to here', packet('incoming', ['10.0.1.7', 50_000], [22]), true],
      ['another port of the list', packet('outgoing', ['10.0.1.7', 23], [40_000]), false],
    ];
    expect(table.map(([name, passes]) => [name, passes])).to.deep.equal(
      table.map(([name, , wanted]) => [name, wanted]),
    );
    expect(plan.inet.map(({ name, lines }) => [name, lines.at(-1)?.verdict])).to.deep.equal([
      ['incoming', 'drop'],
      ['outgoing', 'drop'],
      ['forwarded', 'drop'],
    ]);
  });

  it('are written from numbers, the same for the same set, and know themselves again', () => {
    const set = effectiveSet(
      [
        {
          name: '"; flush ruleset #',
          action: 'deny',
          direction: 'incoming',
          protocol: 'TCP',
          source: { ip: ['10.0.0.0/8', '10.1.0.0/16', 'fd00::/64'] },
          destination: { ports: [22, '20-21', 23] },
        },
      ],
      [],
    );
    const { text, generation } = scriptOf(planRules(set, NOBODY));
    expect(text).to.contain('ip saddr { 10.0.0.0-10.255.255.255 } meta l4proto { 6 } th dport { 20-23 } drop');
    expect(text).to.contain('ip6 saddr { fd00:0:0:0:0:0:0:0-fd00:0:0:0:ffff:ffff:ffff:ffff }');
    expect(text).not.to.contain('flush');
    expect(text).to.contain(`chain ${generation} {`);
    expect(scriptOf(planRules(set, NOBODY))).to.deep.equal({ text, generation });
    expect(scriptOf(planRules(set, MANAGER)).generation).not.to.equal(generation);
  });
});
