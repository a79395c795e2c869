import { expect } from 'chai';
import {
  addressFault,
  labelsFaults,
  nextPower,
  labelFilterText,
  parseLabelFilter,
  patchLabels,
} from '../../../server/computers/computer-rules.js';
import type { Power } from '../../../server/computers/computer.js';

describe('addresses', () => {
  const good = [
    'web1',
    'web1:4118',
    'web1.example.org.',
    '10.0.0.1',
    '10.0.0.1:1',
    '[fd00::1]',
    '[::1]:65535',
    'a_b',
    '0x7f.example',
    '1.2.3.4.example',
    'web1:04118',
    'x2',
  ];
  const bad = ['', 'web1:', 'web1:0', 'web1:65536', '256.0.0.1', '1.2.3', 'fd00::1', '[10.0.0.1]', '-a', 'a b', 'a/b'];
  for (const text of good) it(`takes ${text}`, () => expect(addressFault(text)).to.equal(undefined));
  const numeric = [
    '0x7f000001',
    '0x7f.1',
    '0177.0.0.1',
    '127.1',
    '2130706433',
    '127.0.0.1.',
    'a.0x',
    'web.7',
    '010.0.0.1',
  ];
  for (const text of [...bad, ...numeric, '[fe80::1%eth0]', '[::1', 'http://web1', 'a..b', 'user@web1', 'x'.repeat(64)])
    it(`refuses "${text.slice(0, 20)}"`, () => expect(addressFault(text)).to.be.a('string'));
});

describe('labels', () => {
  const good: readonly [string, unknown][] = [
    ['none', {}],
    ['a key of 63 characters', { ['k'.repeat(63)]: 'v' }],
    ['a prefixed key and an empty value', { 'example.org/site': '' }],
    ['64 of them', Object.fromEntries(Array.from({ length: 64 }, (_, index) => [`k${index}`, 'v']))],
  ];
  const bad: readonly [string, unknown][] = [
    ['an array', ['a']],
    ['null', null],
    ['an empty key', { '': 'v' }],
    ['a key of 64 characters', { ['k'.repeat(64)]: 'v' }],
    ['a key with a sign of the filter', { 'a:b': 'v' }],
    ['a value that is no string', { a: 1 }],
    ['a value of 256 characters', { a: 'v'.repeat(256) }],
    ['a value with NUL', { a: 'a\0' }],
    ['a value with a lone surrogate', { a: '\ud800' }],
    ['65 of them', Object.fromEntries(Array.from({ length: 65 }, (_, index) => [`k${index}`, 'v']))],
    ['null for a value', { a: null }],
  ];
  for (const [name, labels] of good) it(`take ${name}`, () => expect(labelsFaults(labels)).to.deep.equal([]));
  for (const [name, labels] of bad) it(`refuse ${name}`, () => expect(labelsFaults(labels)).to.have.length(1));

  it('are patched by key', () => {
    expect(labelsFaults({ a: null }, { nullable: true })).to.deep.equal([]);
    expect(labelsFaults({ a: 1, ok: 'v', 'b:': 'v' }).map(({ key }) => key)).to.deep.equal(['a', 'b:']);
    expect(patchLabels({ a: '1', b: '2' }, { a: null, c: '3' })).to.deep.equal({ b: '2', c: '3' });
    expect(patchLabels({ a: '1' }, null)).to.deep.equal({});
  });

  it('are asked for by key, or by key and value', () => {
    expect(parseLabelFilter('site')).to.deep.equal({ key: 'site', value: undefined });
    expect(parseLabelFilter('site:a=b')).to.deep.equal({ key: 'site', value: 'a=b' });
    expect(parseLabelFilter('site=a:b')).to.deep.equal({ key: 'site', value: 'a:b' });
    expect(parseLabelFilter('site=')).to.deep.equal({ key: 'site', value: '' });
    expect(['site', 'site:a=b', 'site=a:b', 'site:'].map(labelFilterText)).to.deep.equal([
      'site',
      'site=a=b',
      'site=a:b',
      'site=',
    ]);
  });
});

describe('a power state', () => {
  const power = (state: Power['state'], since: number | null, expiresAt: number | null = null): Power => ({
    state,
    source: 'before',
    since,
    expiresAt,
  });
  const cases: readonly [string, Power, Power['state'], number | null][] = [
    ['begins to be stopped now', power('running', null), 'stopped', 100],
    ['goes on being stopped', power('stopped', 50), 'stopped', 50],
    ['begins anew after the stop before it expired', power('stopped', 50, 80), 'stopped', 100],
    ['ends its stop now', power('stopped', 50), 'running', 100],
    ['ended its stop when it expired', power('stopped', 50, 80), 'unknown', 80],
    ['never stopped', power('unknown', null), 'running', null],
    ['keeps the end of its last stop', power('running', 70), 'unknown', 70],
  ];
  for (const [name, stored, state, since] of cases)
    it(name, () => {
      const said = { state, source: 'ada', expiresAt: null };
      expect(nextPower(stored, said, 100)).to.deep.equal({ ...said, since });
    });
});
