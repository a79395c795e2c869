import { expect } from 'chai';
import { addressGroup } from '../../../lib/address-group.js';
import { createTokenBucket } from '../../../lib/token-bucket.js';
import { createEnrollLimits } from '../../../server/enrollment/enroll-limits.js';
import { decideEnrollment, type FormerEnrollment, type StoredToken } from '../../../server/enrollment/enroll-rules.js';

const NOW = 1_790_000_000_000;
const token = (changes: Partial<StoredToken> = {}): StoredToken => ({
  id: 't',
  policyId: 'p',
  kind: 'agent',
  labels: {},
  uses: 2,
  used: 0,
  expiresAt: NOW + 1,
  ratePerSecond: null,
  computerId: null,
  ...changes,
});
const former: FormerEnrollment = { computerId: 'c', isRevoked: false };

describe('deciding an enrollment', () => {
  const cases: readonly (readonly [string, StoredToken | undefined, FormerEnrollment | undefined, string])[] = [
    ['an unknown token', undefined, undefined, 'refused'],
    ['a fresh token', token(), undefined, 'new'],
    ['the last use', token({ used: 1 }), undefined, 'new'],
    ['a used-up token', token({ used: 2 }), undefined, 'refused'],
    ['a token that expires now', token({ expiresAt: NOW }), undefined, 'refused'],
    ['a used-up token with a key it enrolled', token({ used: 2 }), former, 'again'],
    ['an expired token with a key it enrolled', token({ expiresAt: 0 }), former, 'again'],
    ['a key whose computer was revoked', token(), { ...former, isRevoked: true }, 'refused'],
    ['a token that names a record', token({ computerId: 'c' }), undefined, 'existing'],
  ];
  for (const [name, stored, before, expected] of cases)
    it(`answers ${expected} for ${name}`, () => expect(decideEnrollment(stored, before, NOW).kind).to.equal(expected));
});

describe('limiting enrollments', () => {
  it('lets a burst through, then its rate', () => {
    const bucket = createTokenBucket(2, 3);
    for (let n = 0; n < 3; n += 1) {
      expect(bucket.waitMs(0)).to.equal(0);
      bucket.take(0);
    }
    expect(bucket.waitMs(0)).to.equal(500);
    expect(bucket.waitMs(500)).to.equal(0);
  });

  it('is not filled by a clock that goes back', () => {
    const bucket = createTokenBucket(1, 1);
    bucket.take(1000);
    expect(bucket.waitMs(0)).to.equal(1000);
  });

  const attempts = (
    limits: ReturnType<typeof createEnrollLimits>,
    count: number,
    attempt: { tokenKey: string; address: string },
  ) => Array.from({ length: count }, () => limits.admit({ ...attempt, now: 0 })).filter((wait) => wait === 0).length;

  it('gives each address a burst of 60 and all together one of 60', () => {
    const limits = createEnrollLimits({ totalPerSecond: 1000 });
    expect(attempts(limits, 100, { tokenKey: 't', address: '192.0.2.1' })).to.equal(60);
    expect(limits.admit({ tokenKey: 't', address: '192.0.2.2', now: 1000 })).to.equal(0);
    expect(attempts(createEnrollLimits(), 100, { tokenKey: 't', address: '192.0.2.1' })).to.equal(60);
  });

  it('counts a token with a rate of its own by that alone', () => {
    const limits = createEnrollLimits();
    attempts(limits, 100, { tokenKey: 'x', address: '192.0.2.1' });
    limits.learn('own', 100);
    expect(attempts(limits, 100, { tokenKey: 'own', address: '192.0.2.1' })).to.equal(60);
    expect(limits.admit({ tokenKey: 'own', address: '192.0.2.1', now: 20 })).to.equal(0);
  });

  for (const [address, group] of [
    ['192.0.2.1', '192.0.2.1'],
    ['2001:db8:0:1:2:3:4:5', '2001:db8:0:1'],
    ['2001:db8::1', '2001:db8:0:0'],
    ['2001:0db8:0000:0000:9::', '2001:db8:0:0'],
    ['::1', '0:0:0:0'],
    ['fe80::1%eth0', 'fe80:0:0:0'],
  ] as const)
    it(`counts ${address} as ${group}`, () => expect(addressGroup(address)).to.equal(group));
});
