import { expect } from 'chai';
import { createBenchAgent } from '../../../scripts/bench/bench-agent.js';
import { createSystemRandom } from '../../../lib/random.js';
import { readBy } from '../../../lib/schema.js';
import { reportSchema, type Orders } from '../../../protocol/heartbeat-messages.js';

const COMPUTER = '00000000-0000-4000-8000-000000000001';
const GENERATION = { epoch: '00000000-0000-4000-8000-0000000e70c4', counter: 7 };

const agent = () => {
  let now = 1_000_000;
  const clock = { wall: () => (now += 5), boot: () => 77 };
  return createBenchAgent({ clock, random: createSystemRandom(), bootId: 'boot', computerId: COMPUTER, index: 3 });
};
const read = (text: string) => readBy(reportSchema, JSON.parse(text));
const ordersTo = (text: string, changes: Partial<Orders> = {}) =>
  JSON.stringify({
    reportId: read(text).reportId,
    effect: 'accepted',
    identityToken: 'token-1',
    settings: { fingerprint: 'a'.repeat(64), generation: GENERATION, json: '{"heartbeatIntervalSeconds":600}' },
    settingsGeneration: GENERATION,
    fullReport: false,
    ...changes,
  });

describe('an agent of the load client', () => {
  it('sends reports that pass the schema, facts with the first one, of about two kilobytes after it', () => {
    const sender = agent();
    const first = sender.nextReport();
    expect(read(first)).to.have.property('facts');
    sender.follow(ordersTo(first));
    const second = sender.nextReport();
    expect(read(second)).not.to.have.property('facts');
    expect(second.length).to.be.within(1500, 3000);
  });

  it('carries on what the answer gave', () => {
    const sender = agent();
    const first = sender.nextReport();
    sender.follow(ordersTo(first));
    expect(read(sender.nextReport())).to.deep.include({
      sequence: 2,
      identityToken: 'token-1',
      appliedFingerprint: 'a'.repeat(64),
      settingsGeneration: GENERATION,
      intervalSeconds: 600,
      previousExchange: { sequence: 1, sentAt: 1_000_005, receivedAt: 1_000_010 },
    });
  });

  it('advances its sequence and keeps the settings it has', () => {
    const sender = agent();
    sender.follow(ordersTo(sender.nextReport()));
    sender.follow(ordersTo(sender.nextReport(), { settings: null, identityToken: 'token-2' }));
    expect(read(sender.nextReport())).to.include({
      sequence: 3,
      identityToken: 'token-2',
      appliedFingerprint: 'a'.repeat(64),
    });
  });

  it('takes nothing but the orders of its own accepted report', () => {
    const sender = agent();
    const first = sender.nextReport();
    expect(() => sender.follow(ordersTo(first, { effect: 'older' }))).to.throw(/older/);
    expect(() => sender.follow(ordersTo(first, { reportId: COMPUTER }))).to.throw(/another report/);
  });
});
