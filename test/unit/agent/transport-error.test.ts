import { expect } from 'chai';
import { DeadlinePassed } from '../../../agent/deadline.js';
import { toTransportError, TransportError } from '../../../agent/transport/transport-error.js';

const codeOf = (error: unknown) => toTransportError(error).code;

describe('what an agent calls a failure', () => {
  it('names what the connection came to', () => {
    const named = new TransportError('tls-expired', 'over');
    expect(toTransportError(named)).to.equal(named);
    expect(codeOf(new DeadlinePassed(10))).to.equal('timeout');
    expect(codeOf(Object.assign(new Error('x'), { code: 'ECONNREFUSED' }))).to.equal('refused');
    expect(codeOf(new TypeError('a fault of ours'))).to.equal('unknown');
  });

  it('tells a person whole milliseconds', () => {
    expect(toTransportError(new DeadlinePassed(4999.998823000002)).message).to.equal('No end within 5000 ms');
  });

  it('calls it a protocol error where something else than a manager answers', () => {
    for (const code of ['ERR_SSL_WRONG_VERSION_NUMBER', 'HPE_INVALID_CONSTANT'])
      expect(codeOf(Object.assign(new Error('x'), { code }))).to.equal('protocol');
  });
});
