import { expect } from 'chai';
import { connectionReset, networkFaultOf } from '../../../lib/network-error.js';

const coded = (code: string, message = 'x') => Object.assign(new Error(message), { code });

describe('networkFaultOf', () => {
  const table: readonly [string, string][] = [
    ['ENOTFOUND', 'dns'],
    ['EAI_AGAIN', 'dns'],
    ['ECONNREFUSED', 'refused'],
    ['ETIMEDOUT', 'timeout'],
    ['EPIPE', 'reset'],
    ['EHOSTUNREACH', 'unreachable'],
    ['ERR_SSL_WRONG_VERSION_NUMBER', 'no-tls'],
    ['ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED', 'tls-refused'],
    ['ERR_TLS_CERT_ALTNAME_INVALID', 'tls-refused'],
    ['HPE_INVALID_CONSTANT', 'no-http'],
    ['EWHATEVER', 'unknown'],
  ];
  for (const [code, fault] of table)
    it(`calls ${code} ${fault}`, () => expect(networkFaultOf(coded(code)).fault).to.equal(fault));

  it('takes the first line of the message, and the first of several addresses', () => {
    expect(networkFaultOf(coded('ECONNREFUSED', 'one\ntwo\n')).text).to.equal('one');
    const several = new AggregateError([coded('ECONNREFUSED', 'first'), coded('ETIMEDOUT')]);
    expect(networkFaultOf(several)).to.deep.equal({ fault: 'refused', text: 'first' });
  });

  it('takes whatever is thrown', () => {
    expect(networkFaultOf('odd')).to.deep.equal({ fault: 'unknown', text: 'odd' });
    expect(networkFaultOf(undefined)).to.deep.equal({ fault: 'unknown', text: 'undefined' });
    expect(networkFaultOf(connectionReset('gone'))).to.deep.equal({ fault: 'reset', text: 'gone' });
  });
});
