import { expect } from 'chai';
import fc from 'fast-check';
import { randomBytes } from 'node:crypto';
import { refusedPauseMs, renewalDueAt } from '../../../agent/renewal-rules.js';

const DAY_MS = 86_400_000;
const lifeOf = (serial: string, days = 30) => ({ serial, notBefore: 0, notAfter: days * DAY_MS });

describe('when an agent renews', () => {
  it('is around half of the life, the same after a restart', () => {
    const serials = fc.string({ unit: fc.constantFrom(...'0123456789abcdef'), minLength: 32, maxLength: 32 });
    fc.assert(
      fc.property(serials, fc.integer({ min: 1, max: 397 }), (serial, days) => {
        const life = lifeOf(serial, days);
        const share = renewalDueAt(life) / life.notAfter;
        expect(share).to.be.within(0.4249, 0.575);
        expect(renewalDueAt(life)).to.equal(renewalDueAt({ ...life }));
      }),
    );
  });

  it('is spread over more than a tenth of the life in a fleet that enrolled at once, without a peak', () => {
    const dues = Array.from({ length: 10_000 }, () => renewalDueAt(lifeOf(randomBytes(16).toString('hex'))));
    const [first, last] = [Math.min(...dues), Math.max(...dues)];
    expect((last - first) / (30 * DAY_MS)).to.be.above(0.1);
    const buckets = Array.from({ length: 50 }, () => 0);
    for (const due of dues) buckets[Math.min(49, Math.floor(((due - first) / (last - first)) * 50))]! += 1;
    expect(Math.max(...buckets)).to.be.below(3 * (dues.length / 50));
  });

  it('leaves a manager that refused in peace for a share of the life, and asks more often towards its end', () => {
    const month = lifeOf('00', 30);
    expect(refusedPauseMs(month, undefined)).to.equal(1.5 * DAY_MS);
    expect(refusedPauseMs(month, 15 * DAY_MS)).to.equal(1.5 * DAY_MS);
    expect(refusedPauseMs(month, 28 * DAY_MS)).to.equal(DAY_MS / 2);
    expect(refusedPauseMs(month, 31 * DAY_MS)).to.equal(60_000);
    expect(refusedPauseMs({ serial: '00', notBefore: 0, notAfter: 1000 }, undefined)).to.equal(60_000);
  });

  it('has many attempts left from the half on, however often it is refused', () => {
    const month = lifeOf('00', 30);
    let attempts = 0;
    for (let now = 17.25 * DAY_MS; now < month.notAfter; now += refusedPauseMs(month, now)) attempts += 1;
    expect(attempts).to.be.within(20, 100);
  });
});
