import { expect } from 'chai';
import fc from 'fast-check';
import { canonicalJson, type JsonValue } from '../../../lib/canonical-json.js';

describe('canonical JSON', () => {
  it('sorts keys by UTF-16 code units and writes no white space', () => {
    expect(canonicalJson({ b: [1, { z: null, a: true }], a: 'é', '': 0 })).to.equal(
      '{"":0,"a":"é","b":[1,{"a":true,"z":null}]}',
    );
  });

  it('writes numbers as RFC 8785 appendix B does', () => {
    expect(canonicalJson([1e21, 0.000001, -0, 1e-7, 333333333.3333333])).to.equal(
      '[1e+21,0.000001,0,1e-7,333333333.3333333]',
    );
  });

  it('refuses what JSON cannot carry', () => {
    expect(() => canonicalJson(Number.NaN)).to.throw(TypeError);
    expect(() => canonicalJson('\ud800')).to.throw(TypeError);
  });

  it('parses back to an equal value and is stable', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        const text = canonicalJson(value as JsonValue);
        expect(canonicalJson(JSON.parse(text) as JsonValue)).to.equal(text);
      }),
    );
  });
});
