import { expect } from 'chai';
import { randomUUID } from 'node:crypto';
import fc from 'fast-check';
import {
  readAgentMessage,
  readManagerMessage,
  readReturn,
  toWakeReason,
  writeDone,
  writeManagerMessage,
  writeReport,
  writeReturn,
} from '../../../protocol/channel-messages.js';
import { Problem } from '../../../lib/problem.js';

const requestId = randomUUID();
const read = (text: string) => readAgentMessage(Buffer.from(text));
const codeOf = (action: () => unknown): string => {
  try {
    action();
    return 'none';
  } catch (error) {
    return error instanceof Problem ? error.code : 'another';
  }
};

describe('messages of the channel', () => {
  it('carry the exact bytes of a report, whatever they are', () => {
    fc.assert(
      fc.property(fc.object(), (report) => {
        const body = JSON.stringify(report);
        // Refused wherever it comes.
        fc.pre(!body.includes('__proto__'));
        const message = read(writeReport(requestId, body));
        expect(message).to.include({ type: 'report', requestId });
        if (message.type !== 'report') throw new Error('no report');
        expect(message.body.toString()).to.equal(body);
        expect(message.value).to.deep.equal(JSON.parse(body));
      }),
    );
    const spaced = '{ "a" : 1.0, "b":"\\u00e9"  }';
    const message = read(writeReport(requestId, spaced));
    expect(message.type === 'report' && message.body.toString()).to.equal(spaced);
  });

  it('are read in any other member order, with the member written anew', () => {
    for (const text of [
      `{"requestId":"${requestId}","type":"report","report":{ "a": 1 }}`,
      `{"type":"report","requestId":"${requestId}","report":{ "a": 1 },"more":{}}`,
      ` {"report":{"a":1},"type":"report","requestId":"${requestId}"} `,
    ]) {
      const message = read(text);
      expect(message.type === 'report' && message.body.toString(), text).to.equal('{"a":1}');
    }
    expect(read(writeDone(requestId))).to.deep.equal({ type: 'done', requestId });
    for (const text of [
      '{"type":"later"}',
      '{"type":"later","requestId":7}',
      `{"type":"later","requestId":"${requestId}"}`,
    ])
      expect(read(text), text).to.deep.equal({ type: 'unknown' });
  });

  it('are refused where they are none', () => {
    const id = requestId;
    for (const text of [
      '',
      '{',
      'null',
      '[]',
      '{}',
      '{"type":7}',
      `{"requestId":"${id}"}`,
      '{"type":"done"}',
      '{"type":"report"}',
      `{"type":"report","requestId":"${id}"}`,
      `{"type":"report","requestId":"${id}","report":}`,
      `{"type":"report","requestId":"${id}","report":[]}x`,
      `{"type":"report","requestId":"${id.toUpperCase()}","report":{}}`,
      `{"type":"report","requestId":"${'x'.repeat(36)}","report":{}}`,
      `{"type":"report","requestId":"${id}","report":${'['.repeat(70)}${']'.repeat(70)}}`,
    ])
      expect(
        codeOf(() => read(text)),
        text,
      ).to.equal('request-invalid');
    expect(codeOf(() => readAgentMessage(Buffer.from([0x7b, 0xff, 0x7d])))).to.equal('request-invalid');
  });

  it('of the manager are read as they were written', () => {
    const orders = { type: 'orders', requestId, orders: { nextContactInMs: 5 } } as const;
    const problem = { type: 'problem', requestId, problem: { type: '/problems/x' }, retryAfterSeconds: 3 } as const;
    const wake = { type: 'wake', requestId, reason: 'settings' } as const;
    for (const message of [orders, problem, wake])
      expect(readManagerMessage(Buffer.from(writeManagerMessage(message)))).to.deep.equal(message);
    expect(readManagerMessage(Buffer.from('{"type":"of-tomorrow"}'))).to.deep.equal({ type: 'unknown' });
    for (const text of ['1', '{}', '{"type":"orders"}', `{"type":"wake","requestId":"${requestId}"}`])
      expect(
        codeOf(() => readManagerMessage(Buffer.from(text))),
        text,
      ).to.equal('request-invalid');
  });

  it('end with the time of the return, or without', () => {
    expect(readReturn(writeReturn(1234.4))).to.equal(1234);
    for (const reason of ['', 'manager-restarts', '{}', '{"returnInMs":-1}', '{"returnInMs":"1"}'])
      expect(readReturn(reason), reason).to.equal(undefined);
    expect([toWakeReason('commands'), toWakeReason('nonsense')]).to.deep.equal(['commands', undefined]);
  });
});
