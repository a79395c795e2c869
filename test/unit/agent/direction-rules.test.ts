import { expect } from 'chai';
import fc from 'fast-check';

import {
  CANDIDATE_LIMIT_MS,
  commitCandidate,
  dialsByItself,
  fallbackMs,
  forgetExpired,
  forgetReverted,
  listenerWishes,
  nextChangeBoot,
  isListenerUntold,
  nextDialBoot,
  offerWay,
  proofNeeded,
  REVERTED_KEPT_MS,
  revertCandidate,
  type Carrier,
  type ListenerFacts,
  type Ways,
  type Way,
} from '../../../agent/direction-rules.js';
import { DIRECTIONS, type CommunicationDirection } from '../../../policies/setting-values.js';

const INTERVAL_MS = 60_000;

function way(direction: CommunicationDirection, listenerPort = 4118, ...allowedSources: string[]): Way {
  return { direction, listenerPort, allowedSources };
}

const BOTH = way('bidirectional');
const MANAGER = way('managerInitiated');
const AGENT = way('agentInitiated');
const DIAL: Carrier = { kind: 'dial' };

function listener(port = 4118, admitted = true): Carrier {
  return { kind: 'listener', port, admittedBy: (sources) => admitted || sources.length === 0 };
}

function offered(inForce: Way, to: Way, more: Partial<Ways> & { holdsDials?: boolean } = {}): Ways {
  const { holdsDials, ...ways } = more;
  const offer = { fingerprint: 'd', way: to, nowBoot: 1000, intervalMs: INTERVAL_MS };
  return offerWay({ inForce, ...ways }, holdsDials === undefined ? offer : { ...offer, holdsDials }).ways;
}

function committed(ways: Ways, carrier: Carrier): Ways | undefined {
  return commitCandidate(ways, { fingerprint: 'd', carrier, nowBoot: 2000, intervalMs: INTERVAL_MS });
}

describe('a change of direction', () => {
  const proofs: [string, Way, Way, string | undefined][] = [
    ['bidirectional to managerInitiated', BOTH, MANAGER, 'listener'],
    ['agentInitiated to managerInitiated', AGENT, MANAGER, 'listener'],
    ['managerInitiated to bidirectional', MANAGER, BOTH, 'dial'],
    ['managerInitiated to agentInitiated', MANAGER, AGENT, 'dial'],
    ['managerInitiated to itself', MANAGER, way('managerInitiated'), undefined],
    ['managerInitiated on another port', MANAGER, way('managerInitiated', 5000), 'listener'],
    ['managerInitiated for other sources', MANAGER, way('managerInitiated', 4118, '10.0.0.0/8'), 'listener'],
    ['bidirectional to agentInitiated', BOTH, AGENT, undefined],
    ['agentInitiated to bidirectional', AGENT, BOTH, undefined],
    ['bidirectional on another port', BOTH, way('bidirectional', 5000), undefined],
    ['agentInitiated on another port', AGENT, way('agentInitiated', 5000), undefined],
  ];
  for (const [name, from, to, proof] of proofs)
    it(`${name} needs ${proof === undefined ? 'no proof' : `a proof by ${proof}`}`, () => {
      expect(proofNeeded(from, to)).to.equal(proof);
      const ways = offered(from, to);
      expect(ways.inForce).to.equal(proof === undefined ? to : from);
      expect(ways.candidate?.deadlineBoot).to.equal(proof === undefined ? undefined : 1000 + CANDIDATE_LIMIT_MS);
    });

  const carriers: [string, Way, Way, Carrier, boolean][] = [
    ['the listener by a dial of the manager', BOTH, MANAGER, listener(), true],
    ['the listener not by a dial of the agent', BOTH, MANAGER, DIAL, false],
    ['another port not by the old one', MANAGER, way('managerInitiated', 5000), listener(4118), false],
    ['another port by that port', MANAGER, way('managerInitiated', 5000), listener(5000), true],
    ['other sources by a peer among them', MANAGER, way('managerInitiated', 4118, 'x'), listener(), true],
    ['other sources not by another peer', MANAGER, way('managerInitiated', 4118, 'x'), listener(4118, false), false],
    ['dialling by a dial of the agent', MANAGER, AGENT, DIAL, true],
    ['dialling not by a dial of the manager', MANAGER, AGENT, listener(), false],
  ];
  for (const [name, from, to, carrier, isProof] of carriers)
    it(`proves ${name}`, () => {
      expect(committed(offered(from, to), carrier)?.inForce).to.equal(isProof ? to : undefined);
    });

  it('is not proven by the commit of other settings', () => {
    const ways = offered(BOTH, MANAGER);
    const commit = { fingerprint: 'e', carrier: listener(), nowBoot: 2000, intervalMs: INTERVAL_MS };
    expect(commitCandidate(ways, commit)).to.equal(undefined);
  });

  it('offered again is the candidate that it is, and reverted it is left alone for an hour', () => {
    const ways = offered(BOTH, MANAGER);
    const again = { fingerprint: 'd', way: MANAGER, nowBoot: 50_000, intervalMs: INTERVAL_MS };
    expect(offerWay(ways, again)).to.deep.equal({ kind: 'ignored', ways });
    const reverted = revertCandidate(ways, { reason: 'not-dialled', detail: '' }, 60_000);
    const end = 60_000 + REVERTED_KEPT_MS;
    expect(offerWay(reverted, { ...again, nowBoot: end - 1 }).kind).to.equal('ignored');
    expect(offerWay(reverted, { ...again, nowBoot: end }).kind).to.equal('candidate');
    expect(offerWay(reverted, { ...again, fingerprint: 'e' }).ways.reverted).to.equal(undefined);
    expect(offerWay(forgetReverted(reverted, 'd'), again).kind).to.equal('candidate');
    expect(forgetReverted(reverted, 'e')).to.deep.equal(reverted);
    expect(forgetExpired(reverted, end - 1).reverted).to.not.equal(undefined);
    expect(forgetExpired(reverted, end).reverted).to.equal(undefined);
  });
});

describe('where an agent listens', () => {
  const wishes = (ways: Ways) => listenerWishes(ways).map(({ port, sources }) => [port, sources]);
  const lingering = { way: BOTH, untilBoot: 5 };
  const cases: [string, Ways, unknown][] = [
    ['bidirectional', { inForce: BOTH }, [[4118, [[]]]]],
    ['managerInitiated', { inForce: MANAGER }, [[4118, [[]]]]],
    ['agentInitiated', { inForce: AGENT }, []],
    ['agentInitiated, a moment after another', { inForce: AGENT, lingering }, [[4118, [[]]]]],
    [
      'on the port it had, the old list ends',
      { inForce: way('bidirectional', 4118, 'x'), lingering },
      [[4118, [['x']]]],
    ],
    ['proving a listener', offered(AGENT, way('managerInitiated', 5000, 'x')), [[5000, [['x']]]]],
    [
      'proving other sources beside the old',
      offered(MANAGER, way('managerInitiated', 4118, 'x')),
      [[4118, [[], ['x']]]],
    ],
    [
      'proving another port',
      offered(MANAGER, way('managerInitiated', 5000)),
      [
        [4118, [[]]],
        [5000, [[]]],
      ],
    ],
    ['proving that it can dial', offered(MANAGER, AGENT), [[4118, [[]]]]],
  ];
  for (const [name, ways, expected] of cases)
    it(name, () => {
      expect(wishes(ways)).to.deep.equal(expected);
    });

  it('stays as it was for two intervals after a change', () => {
    expect(offered(BOTH, AGENT).lingering).to.deep.equal({ way: BOTH, untilBoot: 1000 + 2 * INTERVAL_MS });
    expect(offered(BOTH, way('bidirectional', 5000)).lingering?.way).to.equal(BOTH);
    expect(committed(offered(MANAGER, AGENT), DIAL)?.lingering).to.deep.equal({
      way: MANAGER,
      untilBoot: 2000 + 2 * INTERVAL_MS,
    });
    expect(committed(offered(BOTH, MANAGER), listener())?.lingering).to.equal(undefined);
  });
});

describe('when an agent dials', () => {
  const facts = {
    orderedBoot: 70_000,
    lastDialBoot: 500,
    quietSinceBoot: 900,
    intervalMs: INTERVAL_MS,
    isListenerUntold: false,
  };
  const cases: [string, Ways, number][] = [
    ['as ordered', { inForce: BOTH }, 70_000],
    ['as ordered', { inForce: AGENT }, 70_000],
    ['as ordered, while its listener is being proven', offered(BOTH, MANAGER), 70_000],
    ['not before the deadline, told so at its enrollment', offered(BOTH, MANAGER, { holdsDials: true }), 121_000],
    ['never before it was left alone for an hour', { inForce: MANAGER }, 900 + 3_600_000],
    ['at once, to prove that it can', offered(MANAGER, BOTH), 1000],
  ];
  for (const [name, ways, expected] of cases)
    it(`${name}: ${ways.inForce.direction}`, () => {
      expect(nextDialBoot(ways, facts)).to.equal(expected);
    });

  it('as ordered, while its manager does not know its listener', () => {
    expect(nextDialBoot({ inForce: MANAGER }, { ...facts, isListenerUntold: true })).to.equal(70_000);
  });

  const ports: [string, Way, Partial<ListenerFacts>, boolean][] = [
    ['the told port is open', MANAGER, {}, false],
    ['another port is open than was told', MANAGER, { openPort: 5000 }, true],
    ['no port was told, and the setting is open', MANAGER, { toldPort: null }, false],
    ['no port was told, and another than the setting is open', MANAGER, { toldPort: null, openPort: 5000 }, true],
    ['nothing was told yet, and the setting is open', MANAGER, { toldPort: undefined }, false],
    ['the setting is open, but another port was told', MANAGER, { toldPort: 5000 }, true],
    ['nothing is open, but a port was told', MANAGER, { openPort: null }, true],
    ['nothing is open, and nothing was told yet', MANAGER, { openPort: null, toldPort: undefined }, true],
    ['nothing is open, as was told', MANAGER, { openPort: null, toldPort: null }, false],
    ['its port was not tried yet', MANAGER, { openPort: undefined }, false],
    ['it dials anyway', BOTH, { openPort: 5000 }, false],
    ['it dials anyway, and nothing is open', BOTH, { openPort: null }, false],
  ];
  for (const [name, inForce, changes, expected] of ports)
    it(`tells of its listener or not, where ${name}`, () => {
      const known = { openPort: 4118, toldPort: 4118, settingPort: 4118, ...changes };
      expect(isListenerUntold(inForce, known)).to.equal(expected);
    });

  it('again as a retry says, once it tried to prove that it can', () => {
    expect(nextDialBoot(offered(MANAGER, BOTH), { ...facts, lastDialBoot: 1000 })).to.equal(70_000);
  });

  it('waits ten intervals where those are longer than an hour', () => {
    expect(fallbackMs(360_000)).to.equal(3_600_000);
    expect(fallbackMs(360_001)).to.equal(3_600_010);
  });
});

describe('whatever is offered, proven, and however long it takes', () => {
  const port = fc.constantFrom(4118, 5000);
  const anyWay = fc.record({
    direction: fc.constantFrom(...DIRECTIONS),
    listenerPort: port,
    allowedSources: fc.constantFrom<string[]>([], ['10.0.0.0/8']),
  });
  const anyCarrier = fc.oneof(
    fc.constant(DIAL),
    fc.record({ at: port, admitted: fc.boolean() }).map(({ at, admitted }) => listener(at, admitted)),
  );
  const fingerprint = fc.constantFrom('a', 'b', 'c');
  const step = fc.oneof(
    fc.record({ kind: fc.constant('offer' as const), fingerprint, way: anyWay, holdsDials: fc.boolean() }),
    fc.record({ kind: fc.constant('commit' as const), fingerprint, carrier: anyCarrier }),
    fc.record({ kind: fc.constant('wait' as const), ms: fc.integer({ min: 0, max: 4_000_000 }) }),
  );

  /** As agent/directions.ts does: time reverts before anything else. */
  const settle = (ways: Ways, nowBoot: number): Ways => {
    const isOver = ways.candidate && nowBoot >= ways.candidate.deadlineBoot;
    const reverted = isOver ? revertCandidate(ways, { reason: 'not-dialled', detail: '' }, nowBoot) : ways;
    return forgetExpired(reverted, nowBoot);
  };

  it('an agent always listens or dials, and dials by itself within bounds: it is never lost', () => {
    fc.assert(
      fc.property(anyWay, fc.array(step, { maxLength: 30 }), (first, steps) => {
        let ways: Ways = { inForce: first };
        let nowBoot = 0;
        for (const taken of steps) {
          const before = ways;
          if (taken.kind === 'wait') nowBoot += taken.ms;
          ways = settle(ways, nowBoot);
          if (taken.kind === 'offer') ways = offerWay(ways, { ...taken, nowBoot, intervalMs: INTERVAL_MS }).ways;
          if (taken.kind === 'commit')
            ways = commitCandidate(ways, { ...taken, nowBoot, intervalMs: INTERVAL_MS }) ?? ways;
          const facts = {
            orderedBoot: nowBoot,
            lastDialBoot: nowBoot,
            quietSinceBoot: nowBoot,
            intervalMs: INTERVAL_MS,
            isListenerUntold: false,
          };
          const dialsAt = nextDialBoot(ways, facts);
          expect(listenerWishes(ways).length > 0 || dialsByItself(ways)).to.equal(true);
          expect(dialsAt).to.be.at.most(nowBoot + fallbackMs(INTERVAL_MS));
          // The old way goes on until the new one is proven.
          if (taken.kind !== 'commit' && proofNeeded(before.inForce, ways.inForce))
            expect.fail('changed without proof');
          if (ways.candidate) expect(nextChangeBoot(ways)).to.be.at.most(nowBoot + CANDIDATE_LIMIT_MS);
        }
      }),
      { numRuns: 300 },
    );
  });
});
