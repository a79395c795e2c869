import { expect } from 'chai';
import fc from 'fast-check';

import { authorityOf, parseManagerUrl, parseProxy } from '../../../agent/transport/manager-address.js';
import {
  afterFailure,
  afterSuccess,
  choiceAt,
  currentPath,
  DIRECT_KEPT_MS,
  firstChoice,
  pathsOf,
  routeKey,
  routeOf,
  type Choice,
  type Path,
  type Route,
} from '../../../agent/transport/route-rules.js';
import { catalogueDefaults } from '../../../policies/settings-catalogue.js';

const M1 = 'https://m1:4120';
const M2 = 'https://m2:4120';
const A = { url: 'http://a:3128' };
const B = { url: 'http://b:3128' };
const C = { url: 'https://c:8443', credential: 'corp' };
const ALL: Route = { managerUrls: [], proxies: [A, B, C], fallbackDirect: true };

const shown = ({ proxy, manager }: Path): string => `${proxy?.host ?? 'direct'}>${manager.host}`;
const order = (route: Route, enrolled = [M1]): string => pathsOf(route, enrolled).map(shown).join(' ');
const at = (choice: Choice): string => shown(currentPath(choice)!);
const fail = (choice: Choice, isOfProxy = false): Choice => afterFailure(choice, currentPath(choice)!, { isOfProxy });
const succeed = (choice: Choice, now = 0): Choice => afterSuccess(choice, currentPath(choice)!, now);

describe('the address of a proxy', () => {
  const good: [string, string, number, boolean][] = [
    ['http://proxy.example:3128', 'proxy.example', 3128, false],
    ['http://10.0.0.1:3128/', '10.0.0.1', 3128, false],
    ['http://proxy', 'proxy', 80, false],
    ['http://proxy:80', 'proxy', 80, false],
    ['https://proxy', 'proxy', 443, true],
    ['https://[fd00::1]:8443', 'fd00::1', 8443, true],
  ];
  for (const [url, host, port, isTls] of good)
    it(`${url} is ${host} at ${port}`, () => {
      expect(parseProxy({ url })).to.deep.include({ host, port, isTls });
    });

  for (const url of [
    'socks5://p:1',
    'http://u:p@proxy:1',
    'http://u@proxy',
    'http://proxy/path',
    'http://p?x',
    'p:1',
    '',
  ])
    it(`${url || 'nothing'} is none`, () => {
      expect(parseProxy({ url })).to.equal(undefined);
    });

  it('names IPv6 in brackets where a request names it', () => {
    expect(authorityOf(parseManagerUrl('https://[fd00::1]:4120')!)).to.equal('[fd00::1]:4120');
    expect(authorityOf(parseManagerUrl('https://10.0.0.1')!)).to.equal('10.0.0.1:4120');
  });
});

describe('the route of an agent', () => {
  const tables: [string, Route, string][] = [
    ['without proxies directly, whatever is allowed', { ...ALL, proxies: [], fallbackDirect: false }, 'direct>m1'],
    ['through the proxies in order, directly at last', ALL, 'a>m1 b>m1 c>m1 direct>m1'],
    ['never directly where that is forbidden', { ...ALL, fallbackDirect: false }, 'a>m1 b>m1 c>m1'],
    [
      'to each manager through a proxy before the next proxy',
      { managerUrls: [M2, M1], proxies: [A, B], fallbackDirect: true },
      'a>m2 a>m1 b>m2 b>m1 direct>m2 direct>m1',
    ],
  ];
  for (const [name, route, expected] of tables)
    it(`leads ${name}`, () => {
      expect(order(route)).to.equal(expected);
    });

  it('is that of the list set at the computer while there is one, and never less strict than the policy', () => {
    const settings = { ...catalogueDefaults(), proxies: [B], proxyFallbackDirect: false };
    expect(routeOf(settings)).to.deep.equal({ managerUrls: [], proxies: [B], fallbackDirect: false });
    expect(routeOf(settings, { proxies: [A], direct: true })).to.deep.include({ proxies: [A], fallbackDirect: false });
    const open = { ...settings, proxyFallbackDirect: true };
    expect(routeOf(open, { proxies: [A], direct: false }).fallbackDirect).to.equal(false);
    expect(routeOf(open, { proxies: [A], direct: true }).fallbackDirect).to.equal(true);
  });

  it('is another where order, credential or fallback differ', () => {
    const others = [
      { ...ALL, proxies: [B, A, C] },
      { ...ALL, proxies: [A, B, { url: C.url }] },
      { ...ALL, fallbackDirect: false },
      { ...ALL, managerUrls: [M1] },
    ];
    for (const other of others) expect(routeKey(other)).to.not.equal(routeKey(ALL));
    expect(routeKey({ ...ALL, proxies: [{ ...A }, B, C] })).to.equal(routeKey(ALL));
  });
});

describe('the choice among the paths of a route', () => {
  const begin = (known?: { proxy: string | null; managerUrl: string }, route = ALL, enrolled = [M1]): Choice =>
    firstChoice(pathsOf(route, enrolled), known);

  it('goes on in order, directly at last, and then from the first again', () => {
    let choice = begin();
    const seen = [at(choice)];
    for (let left = 4; left > 0; left -= 1) {
      choice = fail(choice);
      seen.push(at(choice));
    }
    expect(seen).to.deep.equal(['a>m1', 'b>m1', 'c>m1', 'direct>m1', 'a>m1']);
  });

  it('stays on the path that worked, and tries all other proxies before it goes directly', () => {
    let choice = succeed(fail(begin()));
    expect(at(choice)).to.equal('b>m1');
    choice = fail(choice);
    expect(at(choice)).to.equal('c>m1');
    choice = fail(choice);
    expect(at(choice)).to.equal('a>m1');
    expect(at(fail(choice))).to.equal('direct>m1');
  });

  it('begins after a restart where it worked last', () => {
    expect(at(begin({ proxy: 'http://b:3128', managerUrl: M1 }))).to.equal('b>m1');
    expect(at(begin({ proxy: 'http://gone:1', managerUrl: M1 }))).to.equal('a>m1');
    const two = [M1, M2];
    expect(at(begin({ proxy: null, managerUrl: M2 }, { ...ALL, proxies: [] }, two))).to.equal('direct>m2');
    expect(at(begin({ proxy: null, managerUrl: M2 }, ALL, two))).to.equal('a>m1');
  });

  it('leaves the direct way, which stands in for proxies, after a while', () => {
    const direct = succeed(fail(fail(fail(begin()))), 1000);
    expect(at(direct)).to.equal('direct>m1');
    expect(at(choiceAt(direct, 999 + DIRECT_KEPT_MS))).to.equal('direct>m1');
    expect(at(choiceAt(succeed(direct, 5000), 1000 + DIRECT_KEPT_MS))).to.equal('a>m1');
    expect(at(fail(direct))).to.equal('a>m1');
  });

  it('never leaves the direct way where there are no proxies', () => {
    const direct = succeed(begin(undefined, { ...ALL, proxies: [] }), 0);
    expect(at(choiceAt(direct, 10 * DIRECT_KEPT_MS))).to.equal('direct>m1');
  });

  it('leaves out the other managers behind a proxy that is itself to blame', () => {
    const two = begin(undefined, ALL, [M1, M2]);
    expect(at(fail(two))).to.equal('a>m2');
    expect(at(fail(two, true))).to.equal('b>m1');
  });

  it('takes no notice of a failure of a path that is not the current one any more', () => {
    const choice = begin();
    const moved = fail(choice);
    expect(afterFailure(moved, currentPath(choice)!, { isOfProxy: false })).to.deep.equal(moved);
  });

  it('tries every path in turn and goes directly only after every proxy failed since the last success', () => {
    const steps = fc.array(fc.constantFrom('fail', 'succeed'), { maxLength: 60 });
    fc.assert(
      fc.property(steps, fc.integer({ min: 1, max: 5 }), (taken, count) => {
        const proxies = Array.from({ length: count }, (_, index) => ({ url: `http://p${index}:1` }));
        let choice = begin(undefined, { ...ALL, proxies });
        let failed = new Set<string>();
        for (const step of taken) {
          const path = currentPath(choice)!;
          if (!path.proxy && step === 'fail') failed = new Set();
          else if (!path.proxy) expect(failed.size).to.equal(count);
          if (step === 'fail' && path.proxy) failed.add(path.key);
          if (step === 'succeed' && path.proxy) failed = new Set();
          choice = step === 'fail' ? fail(choice) : succeed(choice);
          expect(choice.order.length).to.equal(count + 1);
        }
      }),
    );
  });
});
