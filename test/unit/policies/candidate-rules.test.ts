import { expect } from 'chai';
import fc from 'fast-check';
import {
  awaitsDial,
  candidateStanding,
  committedBy,
  retriedBy,
  isInHand,
  isSettingsSent,
  type Candidate,
  type Dialler,
} from '../../../policies/candidate-rules.js';
import { nextPendingContacts, settingsState } from '../../../policies/settings-state.js';
import { DIRECTIONS } from '../../../policies/setting-values.js';

const candidate = (
  fingerprint: string,
  state: Candidate['state'],
  direction: Candidate['direction'] = 'managerInitiated',
): Candidate => ({ fingerprint, direction, state });

describe('what a candidate is to the desired settings', () => {
  const cases: readonly (readonly [string, string | null, Candidate | undefined, string])[] = [
    ['a report without one', 'old', undefined, 'none'],
    ['one of the desired settings', 'old', candidate('D', 'proving'), 'proving'],
    ['one of the desired settings before any were applied', null, candidate('D', 'proving'), 'proving'],
    ['one of the desired settings that was reverted', 'old', candidate('D', 'reverted'), 'reverted'],
    ['one of settings that are desired no more', 'old', candidate('X', 'proving'), 'other'],
    ['a reverted one of settings that are desired no more', 'old', candidate('X', 'reverted'), 'other'],
    ['one that is in force already', 'D', candidate('D', 'reverted'), 'other'],
    ['another one while the desired settings are in force', 'D', candidate('X', 'proving'), 'other'],
  ];
  for (const [name, applied, given, expected] of cases)
    it(`is ${expected}: ${name}`, () =>
      expect(candidateStanding({ desired: 'D', applied, candidate: given })).to.equal(expected));
});

describe('the commit of a candidate', () => {
  const cases: readonly (readonly [string, Candidate | undefined, Dialler, string | null])[] = [
    ['a dial proves managerInitiated', candidate('D', 'proving'), 'manager', 'D'],
    ["the agent's own connection does not prove managerInitiated", candidate('D', 'proving'), 'agent', null],
    ['the agent proves agentInitiated', candidate('D', 'proving', 'agentInitiated'), 'agent', 'D'],
    ['a dial does not prove agentInitiated', candidate('D', 'proving', 'agentInitiated'), 'manager', null],
    ['the agent proves bidirectional', candidate('D', 'proving', 'bidirectional'), 'agent', 'D'],
    ['a dial does not prove bidirectional', candidate('D', 'proving', 'bidirectional'), 'manager', null],
    ['nothing proves what was reverted', candidate('D', 'reverted'), 'manager', null],
    ['nothing proves what is desired no more', candidate('X', 'proving'), 'manager', null],
    ['nothing is proven without a candidate', undefined, 'manager', null],
  ];
  for (const [name, given, dialledBy, expected] of cases)
    it(name, () =>
      expect(committedBy({ desired: 'D', applied: 'old', candidate: given }, dialledBy)).to.equal(expected),
    );

  it('tries again what was reverted for want of a dial, once the address is another', () => {
    const retried = (given: Parameters<typeof retriedBy>[0]['candidate'], isReaddressed = true, applied = 'old') =>
      retriedBy({ desired: 'D', applied, candidate: given }, isReaddressed);
    expect(retried(candidate('D', 'reverted'))).to.equal('D');
    expect(retried(candidate('D', 'reverted'), false)).to.equal(null);
    for (const other of [
      undefined,
      candidate('D', 'proving'),
      candidate('X', 'reverted'),
      candidate('D', 'reverted', 'agentInitiated'),
    ])
      expect(retried(other)).to.equal(null);
    expect(retried(candidate('D', 'reverted'), true, 'D')).to.equal(null);
  });

  it('waits for a dial only while managerInitiated is being proven', () => {
    expect(awaitsDial(candidate('D', 'proving'))).to.equal(true);
    expect(awaitsDial(candidate('D', 'reverted'))).to.equal(false);
    expect(awaitsDial(candidate('D', 'proving', 'bidirectional'))).to.equal(false);
  });
});

describe('any report about settings', () => {
  const fingerprint = fc.constantFrom('D', 'X', 'old');
  const reports = fc.record({
    applied: fc.option(fingerprint),
    delivered: fc.option(fingerprint),
    candidate: fc.option(
      fc.record({
        fingerprint,
        direction: fc.constantFrom(...DIRECTIONS),
        state: fc.constantFrom('proving' as const, 'reverted' as const),
      }),
      { nil: undefined },
    ),
    dialledBy: fc.constantFrom('agent' as const, 'manager' as const),
    pendingContacts: fc.nat(9),
  });

  const factsOf = ({ applied, candidate: given }: { applied: string | null; candidate: Candidate | undefined }) => ({
    desired: 'D',
    applied,
    candidate: given,
  });

  it('commits only the desired candidate, while it is being proven', () => {
    fc.assert(
      fc.property(reports, (report) => {
        const committed = committedBy(factsOf(report), report.dialledBy);
        if (committed === null) return;
        expect([committed, candidateStanding(factsOf(report)), report.candidate?.fingerprint]).to.deep.equal([
          'D',
          'proving',
          'D',
        ]);
      }),
    );
  });

  it('finds settings in force, in hand or to be sent: what is in hand is neither sent again nor counted', () => {
    fc.assert(
      fc.property(reports, (report) => {
        const { applied, delivered, candidate: given, pendingContacts } = report;
        const standing = candidateStanding(factsOf(report));
        const counted = { desired: 'D', applied, delivered, pendingContacts };
        const count = nextPendingContacts({ ...counted, isInHand: isInHand(standing) });
        const failed = given?.state === 'reverted' ? given.fingerprint : null;
        const found = [settingsState({ desired: 'D', applied, failed }), isInHand(standing), count];
        if (applied === 'D') expect(found).to.deep.equal(['applied', false, 0]);
        else if (isInHand(standing))
          expect(found).to.deep.equal([standing === 'reverted' ? 'failed' : 'pending', true, 0]);
        else expect(found).to.deep.equal(['pending', false, delivered === 'D' ? pendingContacts + 1 : 0]);
        // What the agent is proving or has reverted is another's: it drops that.
        const isOther = given !== undefined && given.fingerprint !== 'D';
        expect(isSettingsSent(factsOf(report))).to.equal(applied === 'D' ? isOther : !isInHand(standing));
      }),
    );
  });
});
