import { expect } from 'chai';

import { planRules } from '../../../agent/firewall/firewall-plan.js';
import {
  createNftFilter,
  FirewallRefused,
  FirewallUnsupported,
  type PacketFilter,
} from '../../../agent/firewall/nft-program.js';
import { scriptOf } from '../../../agent/firewall/nft-text.js';
import { createSystemClock } from '../../../lib/clock.js';
import type { FirewallRule } from '../../../policies/firewall-rules.js';
import { effectiveSet, type FirewallListener } from '../../../policies/firewall-set.js';
import { NetworkWorld, namespacesMissing, type Namespace } from '../../support/namespaces.js';
import { eventually } from '../../support/poll.js';
import { skipFor } from '../../support/skip.js';

const HOST = '10.77.1.1';
const HOST6 = 'fd77:1::1';
const PEER = '10.77.1.2';
const OTHER_ADDRESS = '10.77.1.3';
const PEER_MAC = '02:77:00:00:01:02';
const STRANGER_MAC = '02:77:00:00:02:02';
const LISTENER = 4118;
const NOBODY = { targets: [], resolvers: [], gateways: [] };
const clock = createSystemClock();

type Probe = () => Promise<string>;

describe('the firewall, with real packets', function () {
  this.timeout(120_000);
  let world: NetworkWorld;
  let host: Namespace;
  let peer: Namespace;
  let stranger: Namespace;
  let filter: PacketFilter;

  before(async function () {
    const missing = namespacesMissing();
    if (missing !== undefined) skipFor(this, missing);
    world = new NetworkWorld();
    [host, peer, stranger] = [world.space('host'), world.space('peer'), world.space('stranger')];
    world.link(
      { space: host, device: 'e0', mac: '02:77:00:00:01:01', addresses: [`${HOST}/24`, `${HOST6}/64`] },
      { space: peer, device: 'e0', mac: PEER_MAC, addresses: [`${PEER}/24`, `${OTHER_ADDRESS}/24`, 'fd77:1::2/64'] },
    );
    world.link(
      { space: host, device: 'e1', mac: '02:77:00:00:02:01', addresses: ['10.77.2.1/24'] },
      { space: stranger, device: 'e0', mac: STRANGER_MAC, addresses: ['10.77.2.2/24'] },
    );
    stranger.ip('route', 'add', '10.77.1.0/24', 'via', '10.77.2.1');
    filter = createNftFilter({ clock, places: [world.nftIn(host)] });
    for (const port of [22, 80, LISTENER]) await host.ask({ op: 'listen', port });
    await host.ask({ op: 'listenUdp', port: 53 });
    for (const space of [peer, stranger]) await space.ask({ op: 'listen', port: 443 });
    await peer.ask({ op: 'listenUdp', port: 5353 });
  });
  after(() => world?.remove());

  const load = (rules: readonly FirewallRule[], listeners: readonly FirewallListener[] = []): Promise<void> =>
    filter.load(scriptOf(planRules(effectiveSet(rules, listeners), NOBODY)));

  const from =
    (space: () => Namespace, port: number, host6 = false): Probe =>
    () =>
      space().ask({ op: 'connect', host: host6 ? HOST6 : HOST, port });
  const probes = {
    'peer to 22': from(() => peer, 22),
    'peer to 80': from(() => peer, 80),
    'peer to the listener': from(() => peer, LISTENER),
    'peer by its other address to 22': () => peer.ask({ op: 'connect', host: HOST, port: 22, from: OTHER_ADDRESS }),
    'peer by its other address to the listener': () =>
      peer.ask({ op: 'connect', host: HOST, port: LISTENER, from: OTHER_ADDRESS }),
    'peer by version 6 to 22': from(() => peer, 22, true),
    'peer to 53 by UDP': () => peer.ask({ op: 'ask', host: HOST, port: 53 }),
    'stranger to 22': from(() => stranger, 22),
    'stranger to the listener': from(() => stranger, LISTENER),
    'host to peer': () => host.ask({ op: 'connect', host: PEER, port: 443 }),
    'host to stranger': () => host.ask({ op: 'connect', host: '10.77.2.2', port: 443 }),
    'host to peer by UDP': () => host.ask({ op: 'ask', host: PEER, port: 5353 }),
  } satisfies Record<string, Probe>;
  type ProbeName = keyof typeof probes;
  const ALL = Object.keys(probes) as ProbeName[];

  const expectCut = async (...cut: readonly ProbeName[]): Promise<void> => {
    const results = await Promise.all(ALL.map(async (name) => [name, await probes[name]()] as const));
    expect(results.filter(([, result]) => result !== 'open').map(([name]) => name)).to.have.members([...cut]);
  };

  const IN = { direction: 'incoming' } as const;
  const OUT = { direction: 'outgoing' } as const;
  const SSH: FirewallRule = { ...IN, action: 'deny', protocol: 'TCP', destination: { ports: [22] } };
  const TO_22: readonly ProbeName[] = [
    'peer to 22',
    'peer by its other address to 22',
    'peer by version 6 to 22',
    'stranger to 22',
  ];
  const INTO: readonly ProbeName[] = ALL.filter((name) => !name.startsWith('host'));
  const not = (names: readonly ProbeName[], ...others: readonly ProbeName[]) =>
    names.filter((name) => !others.includes(name));

  const table: readonly (readonly [string, readonly FirewallRule[], readonly ProbeName[]])[] = [
    ['lets all pass without a rule', [], []],
    ['denies a port to everybody', [SSH], TO_22],
    ['denies what comes from an address', [{ ...SSH, source: { ip: [`${PEER}-${PEER}`] } }], ['peer to 22']],
    [
      'denies what comes from a block, of either version',
      [{ ...IN, action: 'deny', source: { ip: ['10.77.1.0/24', 'fd77::/16'] } }],
      not(INTO, 'stranger to 22', 'stranger to the listener'),
    ],
    ['denies one version alone', [{ ...SSH, frameType: 'IPv6' }], ['peer by version 6 to 22']],
    ['denies a range of ports', [{ ...SSH, destination: { ports: ['70-90', 443] } }], ['peer to 80']],
    ['denies UDP and leaves TCP', [{ ...IN, action: 'deny', protocol: 'UDP' }], ['peer to 53 by UDP']],
    ['denies a hardware address', [{ ...SSH, source: { mac: [STRANGER_MAC] } }], ['stranger to 22']],
    [
      'denies on the way out alone',
      [{ ...OUT, action: 'deny', protocol: 'TCP', destination: { ports: [443] } }],
      ['host to peer', 'host to stranger'],
    ],
    [
      'closes its direction with an allow rule, and only that',
      [{ ...IN, action: 'allow', protocol: 'TCP', source: { ip: ['10.77.1.0/24'] }, destination: { ports: [22] } }],
      not(INTO, 'peer to 22', 'peer by its other address to 22'),
    ],
    [
      'closes the way out with an allow rule',
      [{ ...OUT, action: 'allow', destination: { ip: [PEER] } }],
      ['host to stranger'],
    ],
    [
      'lets a deny rule win over an allow rule',
      [
        { ...IN, action: 'allow' },
        { ...SSH, source: { ip: [PEER] } },
      ],
      ['peer to 22'],
    ],
    [
      'lets forceAllow win over deny',
      [SSH, { ...IN, action: 'forceAllow', source: { ip: [PEER] } }],
      not(TO_22, 'peer to 22'),
    ],
    [
      'lets bypass win over deny',
      [SSH, { ...IN, action: 'bypass', source: { mac: [STRANGER_MAC] } }],
      not(TO_22, 'stranger to 22'),
    ],
    [
      'lets a deny rule of a higher priority win over bypass',
      [
        { ...SSH, priority: 3 },
        { ...IN, action: 'bypass', priority: 2 },
      ],
      TO_22,
    ],
    [
      'lets forceAllow of a higher priority win again',
      [
        { ...SSH, priority: 3 },
        { ...IN, action: 'forceAllow', priority: 4 },
      ],
      [],
    ],
    ['opens nothing else with forceAllow', [{ ...IN, action: 'forceAllow', source: { ip: [PEER] } }], []],
  ];
  for (const [name, rules, cut] of table)
    it(name, async () => {
      await load(rules);
      await expectCut(...cut);
    });

  it('takes and keeps ARP away by its frame type', async () => {
    const deny: FirewallRule = { ...IN, action: 'deny', frameType: 'ARP', source: { ip: [PEER], mac: [PEER_MAC] } };
    await load([deny]);
    host.ip('neigh', 'flush', 'dev', 'e0');
    peer.ip('neigh', 'flush', 'dev', 'e0');
    // Neither side learns where the other one is: nothing but ARP was taken away.
    expect(await probes['host to peer']()).not.to.equal('open');
    expect(await probes['peer by version 6 to 22']()).to.equal('open');
    await load([{ ...deny, source: { mac: [STRANGER_MAC] } }]);
    host.ip('neigh', 'flush', 'dev', 'e0');
    await eventually('neighbours find each other', async () => (await probes['host to peer']()) === 'open');
  });

  describe('and a listener', () => {
    const listeners = (...sources: readonly string[]) => [{ port: LISTENER, sources }];
    const closed: FirewallRule = { ...IN, action: 'allow', protocol: 'UDP' };
    const standIn: FirewallRule = {
      ...IN,
      action: 'forceAllow',
      priority: 4,
      frameType: 'IP',
      protocol: 'TCP',
      source: { ip: [PEER] },
      destination: { ports: [LISTENER] },
    };
    const TO_IT: readonly ProbeName[] = [
      'peer to the listener',
      'peer by its other address to the listener',
      'stranger to the listener',
    ];
    const denied: FirewallRule = { ...SSH, priority: 4, destination: { ports: [LISTENER] } };
    const rows: readonly (readonly [string, readonly FirewallRule[], readonly string[], readonly ProbeName[]])[] = [
      ['has it reached in a closed direction', [closed], [], not(INTO, ...TO_IT, 'peer to 53 by UDP')],
      ['has it reached against a deny rule of the highest priority', [denied], [], []],
      ['has the hidden rule replaced by a narrower one', [standIn], [], not(TO_IT, 'peer to the listener')],
      ['has it back without that rule', [], [], []],
      ['narrows it to a block', [], ['10.77.2.0/24'], not(TO_IT, 'stranger to the listener')],
      ['narrows it to a hardware address', [], [STRANGER_MAC.toUpperCase()], not(TO_IT, 'stranger to the listener')],
      ['narrows it to either of them', [], [STRANGER_MAC, `${PEER}/32`], ['peer by its other address to the listener']],
    ];
    for (const [name, rules, sources, cut] of rows)
      it(name, async () => {
        await load(rules, listeners(...sources));
        await expectCut(...cut);
      });
  });

  describe('and connections that are open', () => {
    it('goes on with them under rules that allow them, and ends them under rules that deny them', async () => {
      await load([]);
      expect(await peer.ask({ op: 'hold', host: HOST, port: 22 })).to.equal('open');
      expect(await host.ask({ op: 'hold', host: PEER, port: 443 })).to.equal('open');
      await load([{ ...IN, action: 'allow', protocol: 'TCP', destination: { ports: [22] } }]);
      expect(await peer.ask({ op: 'say', host: HOST, port: 22 })).to.equal('open');
      expect(await host.ask({ op: 'say', host: PEER, port: 443 })).to.equal('open');
      await load([SSH]);
      expect(await peer.ask({ op: 'say', host: HOST, port: 22 })).to.equal('silent');
      expect(await host.ask({ op: 'say', host: PEER, port: 443 })).to.equal('open');
    });
  });

  it('loads as many rules as a setting takes, and lets nothing through meanwhile', async () => {
    const many = (base: number): FirewallRule[] =>
      Array.from({ length: 100 }, (_, index) => ({
        ...SSH,
        priority: index % 5,
        source: {
          ip: [
            `10.${base}.${index}.0/24`,
            `fd00:${base}::${index}-fd00:${base}::1${index}`,
            '10.77.0.0/16',
            'fd77::/16',
          ],
        },
      }));
    await load(many(1));
    let open = 0;
    let isOver = false;
    const watching = (async () => {
      while (!isOver)
        open += (await peer.ask({ op: 'connect', host: HOST, port: 22, milliseconds: 60 })) === 'open' ? 1 : 0;
    })();
    for (let round = 2; round < 20; round += 1) await load(many(round));
    isOver = true;
    await watching;
    expect(open).to.equal(0);
  });

  describe('and what cannot be done', () => {
    it('leaves the former set in force where one is refused', async () => {
      await load([SSH]);
      const before = host.nft('list', 'ruleset');
      const script = scriptOf(planRules(effectiveSet([SSH], []), NOBODY));
      const error = await filter
        .load({ ...script, text: `${script.text}table inet wardbeat { chain x { tcp dport nonsense drop; } }\n` })
        .catch((failure: unknown) => failure);
      expect(error).to.be.instanceOf(FirewallRefused);
      expect(host.nft('list', 'ruleset')).to.equal(before);
      await expectCut(...TO_22);
    });

    it('says that nft is not there', async () => {
      const none = createNftFilter({ clock, places: ['/nowhere/nft'] });
      const error = await none.unload().catch((failure: unknown) => failure);
      expect(error).to.be.instanceOf(FirewallUnsupported).and.to.have.property('message', 'nft is not installed');
    });

    it('knows its tables again, takes them away, and nothing else', async () => {
      host.nft('add', 'table', 'inet', 'theirs');
      const script = scriptOf(planRules(effectiveSet([SSH], []), NOBODY));
      await filter.load(script);
      expect(await filter.stands(script.generation)).to.equal(true);
      await filter.unload();
      expect(await filter.stands(script.generation)).to.equal(false);
      expect(host.nft('list', 'tables').trim()).to.equal('table inet theirs');
      await expectCut();
    });
  });
});
