import { expect } from 'chai';
import fc from 'fast-check';
import { Problem } from '../../../lib/problem.js';
import { applySettingsPatch, editDistance, nearestKey, parseSettingsPatch } from '../../../policies/settings-patch.js';
import { problemOf } from './problem-of.js';

describe('reading a patch of settings', () => {
  it('sets values, removes by null and leaves the rest', () => {
    const patch = parseSettingsPatch({ heartbeatIntervalSeconds: 600, managerUrls: [], heartbeatGraceSeconds: null });
    expect(patch).to.deep.equal({
      set: { heartbeatIntervalSeconds: 600, managerUrls: [] },
      remove: ['heartbeatGraceSeconds'],
    });
    const before = Object.freeze({ heartbeatGraceSeconds: 9, listenerPort: 4000, heartbeatIntervalSeconds: 5 });
    expect(applySettingsPatch(before, patch)).to.deep.equal({
      listenerPort: 4000,
      heartbeatIntervalSeconds: 600,
      managerUrls: [],
    });
  });

  it('names every bad field, with both bounds and the nearest known key', () => {
    const body = { heartbeatInterval: 60, heartbeatGraceSeconds: 601, proxies: [{ url: 'ftp://x' }], zzz: null };
    const { errors = [] } = problemOf(() => parseSettingsPatch(body)).facts;
    expect(errors.map(({ pointer }) => pointer)).to.deep.equal([
      '#/heartbeatInterval',
      '#/heartbeatGraceSeconds',
      '#/proxies/0/url',
      '#/zzz',
    ]);
    expect(errors[0]?.detail).to.include('heartbeatIntervalSeconds');
    expect(errors[1]?.detail).to.equal('must be from 0 to 600');
    expect(errors[3]?.detail).to.include('settings-catalogue');
  });

  it('puts the place of the body before every pointer', () => {
    const { errors } = problemOf(() => parseSettingsPatch({ 'a/b~': 1 }, '#/settings')).facts;
    expect(errors?.[0]?.pointer).to.equal('#/settings/a~1b~0');
  });

  for (const body of [null, [], 'x', 7, undefined]) {
    it(`refuses ${JSON.stringify(body)} as a whole`, () =>
      expect(problemOf(() => parseSettingsPatch(body)).code).to.equal('request-invalid'));
  }

  for (const key of ['constructor', '__proto__', 'toString', 'hasOwnProperty', '']) {
    it(`takes "${key}" for an unknown key`, () => {
      const body: unknown = JSON.parse(`{${JSON.stringify(key)}: 1}`);
      expect(problemOf(() => parseSettingsPatch(body)).facts.errors).to.have.length(1);
    });
  }

  it('bounds what a hostile body costs', () => {
    const many = Object.fromEntries(Array.from({ length: 100_000 }, (_, index) => [`k${index}`, 1]));
    expect(problemOf(() => parseSettingsPatch(many)).facts.errors).to.have.length(1);
    const { errors } = problemOf(() => parseSettingsPatch({ ['x'.repeat(1_000_000)]: 1 })).facts;
    expect(errors?.[0]?.pointer.length).to.be.lessThan(100);
  });

  it('never fails but by a Problem', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (body) => {
        try {
          parseSettingsPatch(body);
        } catch (error) {
          expect(error).to.be.instanceOf(Problem);
        }
      }),
    );
  });
});

describe('finding the nearest key', () => {
  for (const [text, expected] of [
    ['heartbeatIntervallSeconds', 'heartbeatIntervalSeconds'],
    ['HEARTBEATSMISSEDALLOWED', 'heartbeatsMissedAllowed'],
    ['heartbeat_grace_seconds', 'heartbeatGraceSeconds'],
    ['proxy', 'proxies'],
    ['colour', undefined],
  ] as const) {
    it(`finds ${expected} for ${text}`, () => expect(nearestKey(text)).to.equal(expected));
  }

  it('counts edits', () => {
    expect(editDistance('kitten', 'sitting')).to.equal(3);
    expect(editDistance('', 'abc')).to.equal(3);
    expect(editDistance('abc', '')).to.equal(3);
  });
});
