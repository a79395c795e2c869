import { expect } from 'chai';
import fc from 'fast-check';
import { digestOfSet, effectiveSet, isWithoutEffect } from '../../../policies/firewall-set.js';
import type { FirewallRule } from '../../../policies/firewall-rules.js';
import { formatAddress, mergeSpans, parseAddress, parseIpRange } from '../../../policies/ip-ranges.js';
import { validateSetting } from '../../../policies/settings-catalogue.js';
import { someRule } from '../../support/firewall-packets.js';
import { runs } from '../../support/property-runs.js';

const PLAIN = { action: 'deny', direction: 'incoming' } as const;
const STAND_IN: FirewallRule = {
  action: 'forceAllow',
  priority: 4,
  direction: 'incoming',
  frameType: 'IP',
  protocol: 'TCP',
  source: { ip: ['10.0.0.5'] },
  destination: { ports: ['4000-4200'] },
};
const LISTENER = { port: 4118, sources: [] };

describe('the rules of the firewall', () => {
  const accepted: readonly (readonly [string, unknown])[] = [
    ['the least', PLAIN],
    ['the hidden one', { ...STAND_IN, action: 'bypass', source: {}, destination: { ports: [4118] } }],
    [
      'everything at once',
      {
        name: 'ssh',
        action: 'allow',
        priority: 0,
        direction: 'incoming',
        frameType: 'IPv4',
        protocol: 'TCP',
        source: {
          ip: ['10.0.0.0/8', '10.0.0.1-10.0.0.9', '192.168.1.1'],
          mac: ['00:11:22:aa:BB:cc'],
          ports: [1, '2-3'],
        },
        destination: { ip: ['10.0.0.0/8'], mac: [], ports: [22] },
      },
    ],
    ['a number of a protocol', { ...PLAIN, protocol: 47 }],
    [
      'ARP by both addresses',
      { ...PLAIN, direction: 'outgoing', frameType: 'ARP', source: { ip: ['10.0.0.1'], mac: ['00-11-22-33-44-55'] } },
    ],
    ['version 6', { ...PLAIN, protocol: 'ICMPv6', source: { ip: ['fd00::/8', 'fd00::1-fd00::9'] } }],
  ];
  for (const [name, rule] of accepted)
    it(`take ${name}`, () => expect(validateSetting('firewallRules', [rule])).to.deep.equal([]));

  const refused: readonly (readonly [string, unknown, readonly string[]])[] = [
    ['no object', 7, ['/0']],
    ['nothing', {}, ['/0/action', '/0/direction']],
    [
      'every field that is wrong',
      {
        action: 'permit',
        priority: 5,
        direction: 'in',
        frameType: 'ip',
        protocol: 'tcp',
        source: { ip: ['x'] },
        destination: 7,
      },
      ['/0/action', '/0/destination', '/0/direction', '/0/frameType', '/0/priority', '/0/protocol', '/0/source/ip/0'],
    ],
    ['a mistyped member', { ...PLAIN, sauce: {} }, ['/0/sauce']],
    ['a mistyped member of an end', { ...PLAIN, source: { ips: [] } }, ['/0/source/ips']],
    [
      'lists that are none',
      { ...PLAIN, source: { ip: '10.0.0.1', mac: 'x', ports: 22 } },
      ['/0/source/ip', '/0/source/mac', '/0/source/ports'],
    ],
    [
      'bad members by their place',
      {
        ...PLAIN,
        protocol: 'TCP',
        source: {
          ip: ['10.0.0.1', '10.0.0.9-10.0.0.1', '::ffff:1.2.3.4', '10.0.0.0/33'],
          mac: ['00:11'],
          ports: ['9-8', 70_000, '22'],
        },
      },
      [
        '/0/source/ip/1',
        '/0/source/ip/2',
        '/0/source/ip/3',
        '/0/source/mac/0',
        '/0/source/ports/0',
        '/0/source/ports/1',
        '/0/source/ports/2',
      ],
    ],
    [
      'text meant for nft',
      { ...PLAIN, source: { ip: ['10.0.0.1; flush ruleset'], mac: ['00:11:22:33:44:55 }'] } },
      ['/0/source/ip/0', '/0/source/mac/0'],
    ],
    ['ports of no protocol', { ...PLAIN, destination: { ports: [22] } }, ['/0/destination/ports']],
    ['a protocol in ARP', { ...PLAIN, frameType: 'ARP', protocol: 'TCP' }, ['/0/protocol']],
    ['ICMPv6 in IPv4', { ...PLAIN, frameType: 'IPv4', protocol: 'ICMPv6' }, ['/0/protocol']],
    ['version 6 in IPv4', { ...PLAIN, frameType: 'IPv4', source: { ip: ['10.0.0.1', 'fd00::1'] } }, ['/0/source/ip/1']],
    ['version 6 in ARP', { ...PLAIN, frameType: 'ARP', destination: { ip: ['fd00::1'] } }, ['/0/destination/ip/0']],
    [
      'no version in common',
      { ...PLAIN, source: { ip: ['10.0.0.1'] }, destination: { ip: ['fd00::1'] } },
      ['/0/destination/ip'],
    ],
    [
      'a hardware address on the way out',
      { ...PLAIN, direction: 'outgoing', destination: { mac: ['00:11:22:33:44:55'] } },
      ['/0/destination/mac'],
    ],
  ];
  for (const [name, rule, pointers] of refused)
    it(`refuse ${name}, and name it`, () => {
      const said = validateSetting('firewallRules', [rule]).map(({ pointer }) => pointer);
      expect([...new Set(said)].toSorted()).to.deep.equal(pointers.map((pointer) => `#/firewallRules${pointer}`));
    });

  it('refuse a rule that is there already, too many, and too much text', () => {
    expect(validateSetting('firewallRules', [PLAIN, { direction: 'incoming', action: 'deny' }])).to.have.length(1);
    expect(
      validateSetting(
        'firewallRules',
        Array.from({ length: 101 }, (_, index) => ({ ...PLAIN, protocol: index })),
      ),
    ).to.have.length(1);
    const ip = Array.from(
      { length: 100 },
      (_, index) => `fd00:1111:2222:3333:4444:5555:6666:${index}-fd00:1111:2222:3333:4444:5555:7777:${index}`,
    );
    const [error] = validateSetting(
      'firewallRules',
      Array.from({ length: 100 }, (_, index) => ({ ...PLAIN, name: `${index}`, source: { ip } })),
    );
    expect(error).to.deep.equal({ pointer: '#/firewallRules', detail: 'must serialise to at most 200000 characters' });
  });
});

describe('the effective set of the firewall', () => {
  it('orders by priority, and within it bypass, forceAllow, deny, allow', () => {
    fc.assert(
      fc.property(fc.array(someRule, { maxLength: 12 }), (rules) => {
        const turns = ['bypass', 'forceAllow', 'deny', 'allow'];
        const ranks = effectiveSet(rules, []).rules.map(
          ({ priority, action }) => (4 - priority) * 4 + turns.indexOf(action),
        );
        expect(ranks).to.deep.equal(ranks.toSorted((a, b) => a - b));
        expect(ranks).to.have.length(rules.length);
      }),
      runs(200),
    );
  });

  const shown = (rules: readonly FirewallRule[], sources: readonly string[] = []) =>
    effectiveSet(rules, [{ ...LISTENER, sources }]).rules.map(
      ({ action, hidden, source }) => `${hidden ? 'hidden ' : ''}${action} ${[...source.ip, ...source.mac].join(' ')}`,
    );

  it('has the hidden rule of a listening agent, and none of one that does not listen', () => {
    expect(effectiveSet([], [LISTENER]).rules).to.deep.equal([
      {
        name: 'Agent listener',
        action: 'bypass',
        priority: 4,
        direction: 'incoming',
        frameType: 'IP',
        protocol: 'TCP',
        source: { ip: [], mac: [], ports: [] },
        destination: { ip: [], mac: [], ports: [4118] },
        hidden: true,
      },
    ]);
    expect(effectiveSet([], []).rules).to.deep.equal([]);
  });

  it('narrows it to the allowed sources, and denies the port to the rest', () => {
    expect(shown([], ['10.0.0.0/8', '00-11-22-33-44-55'])).to.deep.equal([
      'hidden bypass 10.0.0.0/8',
      'hidden bypass 00:11:22:33:44:55',
      'hidden deny ',
    ]);
  });

  it('has it replaced by a rule with its very fields, and takes it back with that rule', () => {
    expect(shown([STAND_IN])).to.deep.equal(['forceAllow 10.0.0.5', 'hidden deny ']);
    expect(shown([{ ...STAND_IN, action: 'bypass' }], ['10.9.0.0/16'])).to.deep.equal([
      'bypass 10.0.0.5',
      'hidden deny ',
    ]);
    expect(shown([])).to.deep.equal(['hidden bypass ']);
  });

  const others: readonly (readonly [string, Partial<FirewallRule>])[] = [
    ['another action', { action: 'allow' }],
    ['a lower priority', { priority: 3 }],
    ['the other direction', { direction: 'outgoing' }],
    ['another frame type', { frameType: 'IPv4' }],
    ['another protocol', { protocol: 'UDP' }],
    ['another port', { destination: { ports: ['4119-4200', 4117] } }],
    ['no port', { destination: {} }],
  ];
  for (const [name, change] of others)
    it(`keeps the hidden rule beside one with ${name}`, () => {
      expect(shown([{ ...STAND_IN, ...change }]))
        .to.include('hidden bypass ')
        .and.not.to.include('hidden deny ');
    });

  it('is closed for what an allow rule speaks of, in its direction alone', () => {
    const closed = (rule: Partial<FirewallRule>) => effectiveSet([{ ...PLAIN, action: 'allow', ...rule }], []).closed;
    expect(closed({})).to.deep.equal({ incoming: { ip: true, arp: false }, outgoing: { ip: false, arp: false } });
    expect(closed({ frameType: 'any' }).incoming).to.deep.equal({ ip: true, arp: true });
    expect(closed({ frameType: 'any', protocol: 'TCP' }).incoming).to.deep.equal({ ip: true, arp: false });
    expect(closed({ frameType: 'ARP', direction: 'outgoing' }).outgoing).to.deep.equal({ ip: false, arp: true });
    expect(closed({ frameType: 'IPv4' }).incoming).to.deep.equal({ ip: true, arp: false });
    expect(closed({ action: 'forceAllow' }).incoming).to.deep.equal({ ip: false, arp: false });
  });

  it('needs no table where it would judge as without one', () => {
    expect(isWithoutEffect(effectiveSet([], [LISTENER]))).to.equal(true);
    expect(isWithoutEffect(effectiveSet([], [{ ...LISTENER, sources: ['10.0.0.0/8'] }]))).to.equal(false);
    expect(isWithoutEffect(effectiveSet([PLAIN], []))).to.equal(false);
  });

  it('has the same digest however its rules are written, and another for another set', () => {
    const digest = (...rules: FirewallRule[]) => digestOfSet(effectiveSet(rules, []));
    expect(digest(PLAIN)).to.equal(digest({ direction: 'incoming', action: 'deny', priority: 0, source: { ip: [] } }));
    expect(digest(PLAIN)).not.to.equal(digest({ ...PLAIN, priority: 1 }));
  });
});

describe('ranges of addresses', () => {
  it('come back from their numbers', () => {
    fc.assert(
      fc.property(fc.oneof(fc.ipV4(), fc.ipV6()), (text) => {
        const parsed = parseAddress(text);
        const back = parsed && parseAddress(formatAddress(parsed.version, parsed.value));
        expect(back).to.deep.equal(parsed).and.not.to.equal(undefined);
      }),
      runs(300),
    );
  });

  it('cover a block whole', () => {
    expect(parseIpRange('10.1.2.3/8')).to.deep.equal({ version: 4, first: 0x0a000000n, last: 0x0affffffn });
    expect(parseIpRange('::/0')).to.deep.equal({ version: 6, first: 0n, last: (1n << 128n) - 1n });
  });

  it('hold the same members when merged, none of them twice', () => {
    const span = fc
      .tuple(fc.nat({ max: 30 }), fc.nat({ max: 5 }))
      .map(([first, more]) => ({ first, last: first + more }));
    fc.assert(
      fc.property(fc.array(span, { maxLength: 8 }), (spans) => {
        const members = (of: readonly { first: number; last: number }[]) =>
          of.flatMap(({ first, last }) => Array.from({ length: last - first + 1 }, (_, index) => first + index));
        const merged = members(mergeSpans(spans));
        expect(merged).to.deep.equal([...new Set(members(spans))].toSorted((a, b) => a - b));
      }),
      runs(300),
    );
  });
});
