import { expect } from 'chai';
import { toClaimedInstant } from '../../../server/heartbeats/clock-offset.js';

describe('instants that an agent claims', () => {
  const claims: readonly (readonly [number, string])[] = [
    [0, '1970-01-01T00:00:00.000Z'],
    [1.6, '1970-01-01T00:00:00.002Z'],
    [253_402_300_799_000, '9999-12-31T23:59:59.000Z'],
    [253_402_300_800_000, '9999-12-31T23:59:59.999Z'],
    [8_640_000_000_000_000, '9999-12-31T23:59:59.999Z'],
    [-1e15, '0000-01-01T00:00:00.000Z'],
    [Number.POSITIVE_INFINITY, '9999-12-31T23:59:59.999Z'],
    [Number.NaN, '1970-01-01T00:00:00.000Z'],
  ];
  for (const [claim, shown] of claims)
    it(`show ${claim} as ${shown}`, () => {
      expect(new Date(toClaimedInstant(claim)).toISOString()).to.equal(shown);
    });
});
