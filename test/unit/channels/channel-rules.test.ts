import { expect } from 'chai';
import { endOfClose, judgeStanding, shownChannel } from '../../../server/channels/channel-rules.js';

const open = { state: 'open', since: 100, reason: null, generation: 3 } as const;

describe('a channel as it is shown', () => {
  const cases = [
    ['never held', null, null, 200, { state: 'none', since: null, reason: null }],
    ['open', open, { generation: 3, listenedUntil: 190 }, 200, { state: 'open', since: 100, reason: null }],
    [
      'open to the last',
      open,
      { generation: 3, listenedUntil: 190 },
      5190,
      { state: 'open', since: 100, reason: null },
    ],
    [
      'its holder is silent',
      open,
      { generation: 3, listenedUntil: 190 },
      5191,
      { state: 'closed', since: 190, reason: 'manager-gone' },
    ],
    [
      'its holder lives again',
      open,
      { generation: 4, listenedUntil: 200 },
      200,
      { state: 'closed', since: 100, reason: 'manager-gone' },
    ],
    ['its holder is unknown', open, null, 200, { state: 'closed', since: 100, reason: 'manager-gone' }],
    [
      'closed',
      { ...open, state: 'closed', reason: 'connection-lost' },
      null,
      200,
      { state: 'closed', since: 100, reason: 'connection-lost' },
    ],
  ] as const;
  for (const [name, stored, holder, now, expected] of cases)
    it(`is told: ${name}`, () => expect(shownChannel(stored, holder, now)).to.deep.equal(expected));
});

describe('whoever holds a channel', () => {
  const standing = { isRevoked: false, desired: 'new', known: ['old', null, null] };
  const cases = [
    ['is revoked', { ...standing, isRevoked: true }, 'cut'],
    ['is behind', standing, 'wake'],
    ['has them', { ...standing, known: ['new', null, null] }, 'leave'],
    ['was told', { ...standing, known: ['old', 'new', null] }, 'leave'],
    ['is proving them, or has reverted them', { ...standing, known: ['old', null, 'new'] }, 'leave'],
  ] as const;
  for (const [name, given, expected] of cases)
    it(`and ${name}: ${expected}`, () => expect(judgeStanding(given)).to.equal(expected));

  it('ends it for a reason', () => {
    expect([1000, 1002, 1006, 1007, 1009, 4408, 1005].map(endOfClose)).to.deep.equal([
      'closed-by-agent',
      'frame-abuse',
      'connection-lost',
      'frame-abuse',
      'frame-abuse',
      'answer-timeout',
      'closed-by-agent',
    ]);
  });
});
