import { expect } from 'chai';
import {
  agentDialled,
  carrierInUse,
  listenerReachable,
  losesOnlyWay,
  type WayFacts,
} from '../../../policies/contact-ways.js';

const ways = (changes: Partial<WayFacts> = {}): WayFacts => ({
  lastSeenAt: 100,
  seenByAgentAt: 100,
  seenByDialAt: null,
  listenerState: 'listening',
  failedDialAt: null,
  probedAt: null,
  ...changes,
});

describe('the ways to a computer', () => {
  const cases: readonly (readonly [string, Partial<WayFacts>, unknown[]])[] = [
    ['only the agent dials', {}, ['https', null, true]],
    ['nothing was heard', { lastSeenAt: null, seenByAgentAt: null, listenerState: null }, ['https', null, false]],
    ['heard before ways were remembered', { seenByAgentAt: null, listenerState: null }, ['https', null, true]],
    ['a dial came last', { seenByAgentAt: 50, seenByDialAt: 100 }, ['listener', true, true]],
    ['the agent came last', { seenByDialAt: 50 }, ['https', true, true]],
    ['only dials came', { seenByAgentAt: null, seenByDialAt: 100 }, ['listener', true, false]],
    ['a dial failed', { failedDialAt: 90 }, ['https', false, true]],
    ['a dial failed after one was answered', { seenByDialAt: 50, failedDialAt: 51 }, ['https', false, true]],
    ['a dial was answered after one failed', { seenByDialAt: 51, failedDialAt: 50 }, ['https', true, true]],
    ['a probe was answered and no dial made', { probedAt: 50 }, ['https', true, true]],
    ['a probe was answered after a dial failed', { failedDialAt: 50, probedAt: 51 }, ['https', true, true]],
    [
      'a dial failed after a probe was answered',
      { seenByDialAt: 40, failedDialAt: 51, probedAt: 50 },
      ['https', false, true],
    ],
    ['nothing listens where a probe was answered', { listenerState: 'closed', probedAt: 50 }, ['https', null, true]],
    ['the listener cannot bind', { seenByDialAt: 50, listenerState: 'failed' }, ['https', false, true]],
    ['nothing listens', { seenByDialAt: 50, listenerState: 'closed', failedDialAt: 60 }, ['https', null, true]],
    [
      'a dial fails before the first report',
      { lastSeenAt: null, seenByAgentAt: null, listenerState: null, failedDialAt: 60 },
      ['https', false, false],
    ],
  ];
  for (const [name, changes, expected] of cases)
    it(`are told apart: ${name}`, () => {
      const facts = ways(changes);
      const shown = carrierInUse(facts, { isHeld: false });
      expect([shown, listenerReachable(facts), agentDialled(facts)]).to.deep.equal(expected);
      const held = shown === 'https' ? 'channel' : shown;
      expect(carrierInUse(facts, { isHeld: true })).to.equal(held);
      const isHeard = facts.lastSeenAt !== null;
      expect(losesOnlyWay('agent', facts)).to.equal(isHeard && expected[1] !== true);
      expect(losesOnlyWay('listener', facts)).to.equal(isHeard && expected[2] === false);
    });
});
