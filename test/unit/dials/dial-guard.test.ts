import { expect } from 'chai';
import { createDialGuard } from '../../../server/dials/dial-guard.js';
import { allowedAddresses, chooseTarget, type TargetFacts } from '../../../server/dials/dial-target.js';
import { DialFailure } from '../../../server/dials/dial-failure.js';

const AWAY = { isLoopbackObserved: false };
const HERE = { isLoopbackObserved: true };
const verdict = (address: string, allowed?: string[], circumstances = AWAY) => {
  const answer = createDialGuard(allowed).check(address, circumstances);
  return answer.ok ? answer.address : false;
};

describe('The guard of dials', () => {
  for (const address of ['10.1.2.3', '172.16.0.1', '172.31.255.255', '192.168.7.8', 'fd12:3456::1', 'fc00::1'])
    it(`lets the private address ${address} pass`, () => expect(verdict(address)).to.equal(address));

  for (const address of ['::ffff:10.1.2.3', '::FFFF:0a01:0203', '0:0:0:0:0:ffff:10.1.2.3'])
    it(`judges and dials what ${address} maps`, () => expect(verdict(address)).to.equal('10.1.2.3'));

  const refused = [
    ['8.8.8.8', 'public'],
    ['172.32.0.1', 'just outside a private range'],
    ['100.64.0.1', 'shared by carriers'],
    ['2001:db8::1', 'public IPv6'],
    ['127.0.0.1', 'loopback'],
    ['127.255.255.254', 'loopback'],
    ['::1', 'loopback'],
    ['::ffff:127.0.0.1', 'mapped loopback'],
    ['::ffff:7f00:1', 'mapped loopback in hexadecimal'],
    ['0.0.0.0', 'this host'],
    ['0.1.2.3', 'this network'],
    ['::', 'unspecified'],
    ['169.254.169.254', 'metadata'],
    ['::ffff:169.254.169.254', 'mapped metadata'],
    ['::ffff:a9fe:a9fe', 'mapped metadata in hexadecimal'],
    ['fd00:ec2::254%1', 'a zone'],
    ['fd00:ec2::254', 'metadata over IPv6'],
    ['fd00:0ec2:0:0:0:0:0:0254', 'metadata over IPv6, written out'],
    ['fd20:ce::254', 'metadata over IPv6'],
    ['fe80::1', 'link-local'],
    ['fe80::1%eth0', 'link-local with a zone'],
    ['224.0.0.1', 'multicast'],
    ['255.255.255.255', 'broadcast'],
    ['240.0.0.1', 'reserved'],
    ['ff02::1', 'multicast'],
    ['64:ff9b::7f00:1', 'NAT64 of loopback'],
    ['64:ff9b::10.0.0.1', 'NAT64'],
    ['64:ff9b:1::a00:1', 'local NAT64'],
    ['2002:7f00:1::1', '6to4 of loopback'],
    ['2002:0a00:0001::1', '6to4'],
    ['2001:0:4136:e378::1', 'Teredo'],
    ['::127.0.0.1', 'IPv4-compatible'],
    ['::ffff:0:127.0.0.1', 'IPv4-translated'],
    ['fd00::5efe:127.0.0.1', 'ISATAP'],
    ['fd00::200:5efe:10.0.0.1', 'ISATAP'],
    ['fec0::1', 'site-local'],
    ['0177.0.0.1', 'octal'],
    ['0x7f.0.0.1', 'hexadecimal'],
    ['2130706433', 'one number'],
    ['127.1', 'short'],
    ['10.1', 'short'],
    ['', 'nothing'],
    ['10.0.0.1 ', 'a space'],
    ['１０.0.0.1', 'full-width digits'],
  ];
  for (const [address = '', why] of refused)
    it(`refuses ${JSON.stringify(address)} (${why})`, () => expect(verdict(address)).to.equal(false));

  it('opens a special range only to one who lists a part of it', () => {
    expect(verdict('169.254.169.254', ['0.0.0.0/0', '::/0'])).to.equal(false);
    expect(verdict('127.0.0.1', ['0.0.0.0/0'])).to.equal(false);
    expect(verdict('::1', ['::/0'])).to.equal(false);
    expect(verdict('2002:a00:1::1', ['::/0'])).to.equal(false);
    expect(verdict('255.255.255.255', ['0.0.0.0/0'])).to.equal(false);
    expect(verdict('100.100.100.200', ['100.64.0.0/10'])).to.equal(false);
    expect(verdict('168.63.129.16', ['0.0.0.0/0'])).to.equal(false);
    expect(verdict('fd00:ec2::254', ['fd00::/8'])).to.equal(false);
    expect(verdict('8.8.8.8', ['0.0.0.0/0'])).to.equal('8.8.8.8');
    expect(verdict('2001:db8::1', ['::/0'])).to.equal('2001:db8::1');
    expect(verdict('169.254.7.7', ['169.254.7.0/24'])).to.equal('169.254.7.7');
    expect(verdict('169.254.8.7', ['169.254.7.0/24'])).to.equal(false);
    expect(verdict('127.0.0.1', ['127.0.0.0/8'])).to.equal('127.0.0.1');
  });

  it('replaces the private ranges by what is listed', () => {
    expect(verdict('10.0.0.1', ['192.0.2.0/24'])).to.equal(false);
    expect(verdict('192.0.2.7', ['192.0.2.0/24'])).to.equal('192.0.2.7');
  });

  it('opens loopback to a computer that was observed there, and nothing else', () => {
    expect(verdict('127.0.0.1', undefined, HERE)).to.equal('127.0.0.1');
    expect(verdict('::1', undefined, HERE)).to.equal('::1');
    expect(verdict('::ffff:127.0.0.1', undefined, HERE)).to.equal('127.0.0.1');
    expect(verdict('0.0.0.0', undefined, HERE)).to.equal(false);
    expect(verdict('169.254.169.254', undefined, HERE)).to.equal(false);
    expect(verdict('8.8.8.8', undefined, HERE)).to.equal(false);
  });
});

describe('The target of a dial', () => {
  const facts: TargetFacts = {
    address: null,
    observedAddress: '10.0.0.9',
    candidatePort: null,
    listenerPort: null,
    settingPort: 4118,
  };
  const at = (changes: Partial<TargetFacts>) => {
    const { host, port } = chooseTarget({ ...facts, ...changes });
    return `${host} ${port}`;
  };

  it("is the administrator's address, else the observed one", () => {
    expect(at({})).to.equal('10.0.0.9 4118');
    expect(at({ address: 'web1.example:7000' })).to.equal('web1.example 7000');
    expect(at({ address: '[fd00::7]:7000' })).to.equal('fd00::7 7000');
    expect(at({ address: '[fd00::7]' })).to.equal('fd00::7 4118');
    expect(() => at({ observedAddress: null }))
      .to.throw(DialFailure)
      .with.property('code', 'no-address');
  });

  it("has the address's own port, the candidate's, the bound one, or the setting's", () => {
    const ports = { candidatePort: 1, listenerPort: 2 };
    expect(at({ ...ports, address: '10.0.0.1:3' })).to.equal('10.0.0.1 3');
    expect(at({ ...ports })).to.equal('10.0.0.9 1');
    expect(at({ ...ports, candidatePort: null })).to.equal('10.0.0.9 2');
  });

  it('is loopback only where that was observed', () => {
    const isHere = (observedAddress: string) => chooseTarget({ ...facts, observedAddress }).isLoopbackObserved;
    expect(['127.0.0.1', '::1', '::ffff:127.0.0.5', '10.0.0.1'].map(isHere)).to.deep.equal([true, true, true, false]);
  });
});

describe('Resolving the target of a dial', () => {
  const { signal } = new AbortController();
  const asked: string[] = [];
  const resolving = (...addresses: string[]) => ({
    guard: createDialGuard(undefined),
    resolve: async (host: string) => {
      asked.push(host);
      return addresses;
    },
  });
  const target = (host: string) => ({ host, port: 4118, isLoopbackObserved: false });
  const codeOf = async (host: string, ...addresses: string[]) => {
    try {
      return await allowedAddresses(resolving(...addresses), target(host), signal);
    } catch (error) {
      return (error as DialFailure).code;
    }
  };

  it('checks what a name resolves to, and dials only that', async () => {
    expect(await codeOf('web1.example', '10.0.0.5')).to.deep.equal(['10.0.0.5']);
    expect(await codeOf('web1.example', '2001:db8::1', '10.0.0.5', '10.0.0.5')).to.deep.equal(['10.0.0.5']);
    expect(await codeOf('localhost', '127.0.0.1', '::1')).to.equal('address-refused');
    expect(await codeOf('metadata.google.internal', '169.254.169.254')).to.equal('address-refused');
    expect(await codeOf('rebound.example', '::ffff:127.0.0.1')).to.equal('address-refused');
    expect(await codeOf('nothing.example')).to.equal('address-refused');
  });

  for (const host of [
    '0177.0.0.1',
    '0x7f000001',
    '0x7f.1',
    '127.1',
    '2130706433',
    '017700000001',
    '127.0.0.1.',
    '127。0。0。1',
    'ⓛⓞⓒⓐⓛ',
    'loc\u00adalhost',
    'a b',
    '[::1]',
  ])
    it(`asks nobody for ${JSON.stringify(host)}`, async () => {
      asked.length = 0;
      expect(await codeOf(host, '10.0.0.5')).to.equal('address-refused');
      expect(asked).to.deep.equal([]);
    });
});
