import { expect } from 'chai';
import fc from 'fast-check';
import { alertFrom, isStillGood, lateFrom, refuseLateRenewal } from '../../../server/certificates/renewal-rules.js';

const DAY_MS = 86_400_000;
const MONTH = { notBefore: 0, notAfter: 30 * DAY_MS };

describe('when a certificate is late', () => {
  it('is after two thirds of its life', () => {
    expect(lateFrom(MONTH)).to.equal(20 * DAY_MS);
    expect(isStillGood(MONTH, 20 * DAY_MS - 1)).to.equal(true);
    expect(isStillGood(MONTH, 20 * DAY_MS)).to.equal(false);
  });

  for (const [days, from] of [
    [7, 23],
    [1, 29],
    [10, 20],
    [30, 20],
    [90, 20],
  ] as const)
    it(`is alerted ${days} days before its end, yet not while it may just be about to be renewed`, () => {
      expect(alertFrom(MONTH, days)).to.equal(from * DAY_MS);
    });

  it('is never alerted before it is late, and always before its end', () => {
    const lives = fc.tuple(fc.integer({ min: 1, max: 397 }), fc.integer({ min: 1, max: 90 }));
    fc.assert(
      fc.property(lives, ([life, days]) => {
        const validity = { notBefore: 0, notAfter: life * DAY_MS };
        expect(alertFrom(validity, days)).to.be.within(lateFrom(validity), validity.notAfter - 1);
      }),
    );
  });
});

describe('renewal after expiry', () => {
  const peer = { publicKeyDigest: 'aa', notAfter: 1000 * DAY_MS };
  const facts = {
    peer,
    keyDigest: 'aa',
    record: { isRevoked: false, renewAfterExpiryDays: 7 },
    now: peer.notAfter + 1,
  };

  for (const [name, changes, expected] of [
    ['is given right after it', {}, undefined],
    ['is given at the end of the last day', { now: peer.notAfter + 7 * DAY_MS }, undefined],
    ['is refused a millisecond later', { now: peer.notAfter + 7 * DAY_MS + 1 }, 'too-late'],
    ['is refused before it', { now: peer.notAfter }, 'not-expired'],
    ['is refused for another key', { keyDigest: 'bb' }, 'another-key'],
    ['is refused where nothing is known of the certificate', { record: undefined }, 'unknown'],
    ['is refused where it was revoked', { record: { isRevoked: true, renewAfterExpiryDays: 7 } }, 'revoked'],
    ['is refused where the policy gives no day', { record: { isRevoked: false, renewAfterExpiryDays: 0 } }, 'too-late'],
  ] as const)
    it(name, () => {
      expect(refuseLateRenewal({ ...facts, ...changes })).to.equal(expected);
    });
});
