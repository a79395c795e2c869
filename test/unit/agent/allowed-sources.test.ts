import { expect } from 'chai';

import { isAllowedSource, parseArpTable } from '../../../agent/listener/allowed-sources.js';

const ARP = `IP address       HW type     Flags       HW address            Mask     Device
10.0.0.7         0x1         0x2         00:11:22:AA:bb:cc     *        eth0
10.0.0.8         0x1         0x0         00:00:00:00:00:00     *        eth0
`;
const MAC = '00-11-22-aa-BB-cc';

describe('the sources that may reach a listener', () => {
  const cases: [string, string[], string | undefined, boolean][] = [
    ['an empty list means any', [], '203.0.113.9', true],
    ['inside a block', ['10.0.0.0/8'], '10.255.0.1', true],
    ['outside a block', ['10.0.0.0/8'], '11.0.0.1', false],
    ['IPv4 inside IPv6', ['10.0.0.0/8'], '::ffff:10.0.0.1', true],
    ['a single address', ['10.0.0.7/32'], '10.0.0.7', true],
    ['a host of a block that is written with host bits', ['10.1.2.3/8'], '10.9.9.9', true],
    ['every IPv4 address', ['0.0.0.0/0'], '198.51.100.1', true],
    ['every IPv4 address is no IPv6 address', ['0.0.0.0/0'], '2001:db8::1', false],
    ['every IPv6 address is no IPv4 address', ['::/0'], '::ffff:10.0.0.1', false],
    ['an IPv6 block', ['fd00::/8'], 'fd12::1', true],
    ['an IPv6 address with a zone', ['fe80::/10'], 'fe80::1%eth0', true],
    ['a neighbour by its MAC address', [MAC], '10.0.0.7', true],
    ['a neighbour inside IPv6', [MAC], '::ffff:10.0.0.7', true],
    ['another neighbour', [MAC], '10.0.0.8', false],
    ['nobody that the kernel knows', [MAC], '10.0.0.9', false],
    ['an incomplete entry', ['00:00:00:00:00:00'], '10.0.0.8', false],
    ['one of both', ['192.0.2.0/24', MAC], '10.0.0.7', true],
    ['no address at all', ['0.0.0.0/0'], undefined, false],
  ];
  for (const [name, sources, address, expected] of cases)
    it(`${name}: ${expected ? 'admitted' : 'refused'}`, () => {
      expect(isAllowedSource(sources, address, () => parseArpTable(ARP))).to.equal(expected);
    });

  it('ask for the neighbours only where the list has a MAC address', () => {
    const neighbours = (): never => expect.fail('asked');
    expect(isAllowedSource(['10.0.0.0/8'], '11.0.0.1', neighbours)).to.equal(false);
  });
});
