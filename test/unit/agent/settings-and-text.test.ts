import { expect } from 'chai';
import fc from 'fast-check';

import { parseSettings } from '../../../agent/apply-settings.js';
import { toSpoolable } from '../../../agent/spool/event-intake.js';
import { toStorableCut } from '../../../agent/storable.js';
import { readBy } from '../../../lib/schema.js';
import { eventSchema } from '../../../protocol/heartbeat-messages.js';

describe('settings that arrive', () => {
  it('are read with defaults for what is absent; unknown keys are ignored', () => {
    const values = parseSettings('{"heartbeatIntervalSeconds":7,"invented":true}');
    expect(values.heartbeatIntervalSeconds).to.equal(7);
    expect(values.spoolMaxMegabytes).to.equal(256);
    expect(values).to.not.have.property('invented');
  });

  for (const json of ['[]', '{', '{"heartbeatIntervalSeconds":1}', '{"spoolMaxMegabytes":"unlimited"}'])
    it(`are refused as a whole when wrong: ${json}`, () => {
      expect(() => parseSettings(json)).to.throw();
    });
});

describe('texts for the manager', () => {
  it('never cut a surrogate pair', () => {
    expect(toStorableCut('ab😀', 3)).to.equal('ab');
    expect(toStorableCut('ab😀', 4)).to.equal('ab😀');
  });

  it('always pass the schema once they are spoolable, whatever they were', () => {
    const units = fc.array(fc.integer({ min: 0, max: 0xffff }), { maxLength: 50 });
    const text = units.map((codes) => String.fromCharCode(...codes));
    // A key of that name is refused, not made spoolable.
    const plain = fc.jsonValue().filter((value) => !JSON.stringify(value).includes('__proto__'));
    fc.assert(
      fc.property(text, plain, (message, data) => {
        const event = toSpoolable({ kind: 'log', severity: 'info', message, data: { data, message } }, 0);
        const wire: unknown = JSON.parse(JSON.stringify({ sequence: 1, ...event }));
        readBy(eventSchema, wire);
      }),
    );
  });
});
