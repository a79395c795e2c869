import { expect } from 'chai';

import { EXIT, explainFailure } from '../../../agent/exit-codes.js';
import { LocalRefusal } from '../../../agent/local-socket/socket-client.js';

describe('what a command ends with when the running agent refuses it', () => {
  const explain = (error: Error): { code: number; told: string[] } => {
    const told: string[] = [];
    const code = explainFailure(error, { name: 'wardbeat-agent', complain: (text) => told.push(text) });
    return { code, told };
  };

  const rows: [string, number][] = [
    ['request-invalid', EXIT.usage],
    ['not-isolated', EXIT.refused],
    ['too-many-requests', EXIT.refused],
    ['release-code-refused', EXIT.refused],
    ['collection-stopped', EXIT.refused],
    ['spool-unavailable', EXIT.notInContact],
    ['unavailable', EXIT.notInContact],
    ['internal', EXIT.notInContact],
    ['of-another-version', EXIT.notInContact],
  ];
  for (const [code, exit] of rows)
    it(`names ${code} and exits ${exit}`, () => {
      expect(explain(new LocalRefusal(code, 'why', []))).to.deep.equal({ code: exit, told: [`${code}: why`] });
    });

  it('lists what is wrong with a request', () => {
    const { told } = explain(new LocalRefusal('request-invalid', 'why', ['#/a is b']));
    expect(told).to.deep.equal(['request-invalid: why', 'wardbeat-agent: #/a is b']);
  });
});

describe('what a command ends with when the system refuses a path', () => {
  for (const [code, exit] of [
    ['EACCES', EXIT.usage],
    ['ENOENT', EXIT.usage],
    ['EROFS', EXIT.notInContact],
    ['ENOSPC', EXIT.notInContact],
    ['EIO', EXIT.notInContact],
  ] as const)
    it(`${code}: ${exit}, ${exit === EXIT.usage ? 'for a restart mends nothing' : 'for it may pass'}`, () => {
      const error = Object.assign(new Error(code), { code, syscall: 'open' });
      expect(explainFailure(error, { name: 'wardbeat-agent', complain: () => undefined })).to.equal(exit);
    });
});
