import { expect } from 'chai';
import {
  FACTOR_KINDS,
  factorKey,
  factorKeysOf,
  parseFactorKey,
  specificityOf,
  subnetOf,
  type ComputerProfile,
} from '../../../policies/incident-factors.js';

const NOTHING_KNOWN: ComputerProfile = {
  address: null,
  proxy: null,
  policyId: 'p1',
  ancestorIds: [],
  labels: {},
  managerNode: null,
  agentVersion: null,
  platform: null,
};

describe('what computers have in common', () => {
  it('is everything that is known of a computer, and the fleet', () => {
    const keys = factorKeysOf({
      address: '10.1.2.3',
      proxy: 'http://proxy:3128',
      policyId: 'p1',
      ancestorIds: ['p2', 'p3'],
      labels: { site: 'berlin', role: 'web' },
      managerNode: 'n1',
      agentVersion: '1.2.0',
      platform: 'linux',
    });
    expect(keys).to.deep.equal([
      'subnet/10.1.2.0/24',
      'proxy/http://proxy:3128',
      'policy/p1',
      'label/site=berlin',
      'label/role=web',
      'policySubtree/p1',
      'policySubtree/p2',
      'policySubtree/p3',
      'managerNode/n1',
      'agentVersion/1.2.0',
      'platform/linux',
      'fleet',
    ]);
  });

  it('leaves out what is not known', () => {
    expect(factorKeysOf(NOTHING_KNOWN)).to.deep.equal(['policy/p1', 'policySubtree/p1', 'fleet']);
    expect(factorKeysOf({ ...NOTHING_KNOWN, address: 'somewhere' })).to.deep.equal([
      'policy/p1',
      'policySubtree/p1',
      'fleet',
    ]);
  });

  for (const [address, subnet] of [
    ['192.0.2.77', '192.0.2.0/24'],
    ['::ffff:192.0.2.77', '192.0.2.0/24'],
    ['::FFFF:192.0.2.77', '192.0.2.0/24'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
    ['2001:DB8:1:2::6', '2001:db8:1:2::/64'],
    ['2001:db8::1', '2001:db8:0:0::/64'],
    ['fe80::1%eth0', 'fe80:0:0:0::/64'],
    ['::1', '0:0:0:0::/64'],
    ['web1', null],
    ['10.1.2', null],
    ['', null],
  ] as const)
    it(`of ${address || 'nothing'} is the subnet ${subnet}`, () => expect(subnetOf(address)).to.equal(subnet));

  it('has keys that can be read back', () => {
    for (const kind of FACTOR_KINDS) {
      const factor = { kind, value: kind === 'fleet' ? '' : 'a/b=c' };
      expect(parseFactorKey(factorKey(factor)), kind).to.deep.equal(factor);
    }
    expect(factorKey({ kind: 'subnet', value: '10.0.0.0/24' })).to.equal('subnet/10.0.0.0/24');
    expect(factorKey({ kind: 'fleet', value: '' })).to.equal('fleet');
    expect(parseFactorKey('rack/7')).to.equal(undefined);
    expect(parseFactorKey('fleet/7')).to.equal(undefined);
    expect(parseFactorKey('subnet')).to.equal(undefined);
  });

  it('is the more specific the further ahead its kind stands', () => {
    const keys = FACTOR_KINDS.map((kind) => factorKey({ kind, value: 'x/y' }));
    expect(keys.map(specificityOf)).to.deep.equal([0, 1, 2, 3, 4, 5, 6, 7, 8]);
  });
});
