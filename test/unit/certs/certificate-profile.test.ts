import { expect } from 'chai';
import fc from 'fast-check';
import {
  BACKDATE_MS,
  computerSpiffeId,
  DAY_MS,
  isHost,
  leafProfile,
  managerSpiffeId,
  parseSpiffeId,
} from '../../../certs/certificate-profile.js';

const ID = '0b5f7c1e-6c1c-4f0e-9d9a-0123456789ab';
const AT = Date.UTC(2026, 10, 21, 12, 0, 0, 789);
const FAR = AT + 1000 * DAY_MS;

describe('SPIFFE ids', () => {
  it('are read back as they were written', () => {
    expect(parseSpiffeId(computerSpiffeId('fleet.example', ID))).to.deep.equal({
      trustDomain: 'fleet.example',
      role: 'computer',
      id: ID,
    });
    expect(parseSpiffeId(managerSpiffeId('wardbeat', 'node-1'))).to.include({ role: 'manager', id: 'node-1' });
  });

  for (const uri of [
    '',
    `spiffe://wardbeat/computer/${ID}/`,
    `spiffe://wardbeat/computer/${ID}\n`,
    `spiffe://wardbeat/computer/${ID.toUpperCase()}`,
    `SPIFFE://wardbeat/computer/${ID}`,
    `spiffe://Wardbeat/computer/${ID}`,
    `spiffe://wardbeat:8443/computer/${ID}`,
    `spiffe://user@wardbeat/computer/${ID}`,
    `spiffe:///computer/${ID}`,
    `spiffe://wardbeat//computer/${ID}`,
    `spiffe://wardbeat/computer/../computer/${ID}`,
    `spiffe://wardbeat/computer/${ID}?role=manager`,
    `spiffe://wardbeat/computer/${ID}#manager`,
    'spiffe://wardbeat/computer/node-1',
    'spiffe://wardbeat/manager/..',
    'spiffe://wardbeat/manager/a%2fb',
    `spiffe://wardbeat/admin/${ID}`,
    'https://wardbeat/manager/node-1',
  ])
    it(`are strict: ${JSON.stringify(uri)} is none`, () => {
      expect(parseSpiffeId(uri)).to.equal(undefined);
    });

  it('are never read from a text that the profile would not write', () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 80 }), fc.string({ maxLength: 80 }), (domain, node) => {
        const parsed = parseSpiffeId(`spiffe://${domain}/manager/${node}`);
        if (parsed)
          expect(managerSpiffeId(parsed.trustDomain, parsed.id)).to.equal(`spiffe://${domain}/manager/${node}`);
      }),
    );
  });

  it('are not written for malformed parts', () => {
    expect(() => computerSpiffeId('wardbeat', 'web1')).to.throw(TypeError);
    expect(() => computerSpiffeId('ward/beat', ID)).to.throw(TypeError);
    expect(() => managerSpiffeId('wardbeat', 'a b')).to.throw(TypeError);
  });
});

describe('the leaf profile', () => {
  const request = { trustDomain: 'wardbeat', role: 'computer', id: ID, lifetimeDays: 30, at: AT } as const;

  it('is back-dated five minutes and ends after its days, in whole seconds', () => {
    const { notBefore, notAfter } = leafProfile({ ...request, issuerNotAfter: FAR });
    expect(notBefore).to.equal(AT - 789 - BACKDATE_MS);
    expect(notAfter).to.equal(AT - 789 + 30 * DAY_MS);
  });

  it('never outlives its issuer', () => {
    expect(leafProfile({ ...request, issuerNotAfter: AT + DAY_MS }).notAfter).to.equal(AT + DAY_MS);
    expect(() => leafProfile({ ...request, issuerNotAfter: AT - DAY_MS })).to.throw(RangeError);
  });

  for (const lifetimeDays of [0, 0.5, 398, -1, Number.NaN, Number.POSITIVE_INFINITY])
    it(`refuses a life of ${lifetimeDays} days`, () => {
      expect(() => leafProfile({ ...request, lifetimeDays, issuerNotAfter: FAR })).to.throw(RangeError);
    });

  it('parts DNS names from addresses, for managers only', () => {
    const hosts = ['manager.example', '127.0.0.1', '::1'];
    const manager = { ...request, role: 'manager', id: 'node-1', hosts, issuerNotAfter: FAR } as const;
    expect(leafProfile(manager)).to.deep.include({ dnsNames: ['manager.example'], ipAddresses: ['127.0.0.1', '::1'] });
    expect(() => leafProfile({ ...request, hosts, issuerNotAfter: FAR })).to.throw(TypeError);
    expect(() => leafProfile({ ...manager, hosts: ['a b'] })).to.throw(TypeError);
  });

  it('knows a host from what is none', () => {
    expect(['localhost', 'a.b-c.example', 'my_host', '10.0.0.1', 'fe80::1'].every(isHost)).to.equal(true);
    expect(['', '.', 'a..b', '-a', 'a-', '*.example', 'fe80::1%eth0', 'a'.repeat(64)].some(isHost)).to.equal(false);
  });
});
