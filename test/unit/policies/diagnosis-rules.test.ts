import { expect } from 'chai';
import fc from 'fast-check';
import { readFileSync } from 'node:fs';
import {
  ADVICE,
  adviceFor,
  HANGING_ADVICE,
  CIRCUMSTANCE_ADVICE,
  CONFIDENCES,
  diagnose,
  hostUpOf,
  REFUSAL_CODES,
  type Circumstances,
  type DiagnosisFacts,
  type RefusalCode,
} from '../../../policies/diagnosis-rules.js';
import { GOODBYE_REASONS, goodbyeStatusReason, STATUS_REASONS } from '../../../policies/status-model.js';

const SEEN = 1_000_000;
const NOW = SEEN + 300_000;
const DAY = 86_400_000;

const silent: DiagnosisFacts = {
  at: NOW,
  status: 'offline',
  statusReason: 'unknown',
  isEnrolled: true,
  lastSeenAt: SEEN,
  goodbye: null,
  refusals: [],
  dials: [],
  isWayProven: false,
  certificate: { notBefore: SEEN - DAY, notAfter: SEEN + DAY },
  clockOffsetMs: 0,
  agentError: null,
  isDuplicateSuspected: false,
};
const of = (changes: Partial<DiagnosisFacts>) => {
  const { reason, confidence, hostUp } = diagnose({ ...silent, ...changes });
  return [reason, confidence, hostUp];
};
const dial = (result: string, at = NOW, hostUp: boolean | null = hostUpOf(result, false)) => ({ at, result, hostUp });
const refused = (code: RefusalCode, at = NOW) => ({ code, at });

describe('the diagnosis of a computer', () => {
  const table: readonly (readonly [string, Partial<DiagnosisFacts>, readonly unknown[]])[] = [
    ['nothing but the silence', {}, ['unknown', 'low', null]],
    ['one that is late', { status: 'late', statusReason: 'heartbeat-missed' }, ['heartbeat-missed', 'low', null]],
    [
      'one whose absence is allowed',
      { status: 'late', statusReason: 'absence-allowed' },
      ['absence-allowed', 'high', null],
    ],
    ['one that is offline although absence was allowed', { statusReason: 'absence-allowed' }, ['unknown', 'low', null]],
    ['one in contact', { status: 'online' }, ['in-contact', 'high', true]],
    [
      'one in contact that could not be dialled',
      { status: 'online', dials: [dial('timeout')] },
      ['in-contact', 'high', true],
    ],
    [
      'one in contact that refuses connections since',
      { status: 'online', isWayProven: true, dials: [dial('refused')] },
      ['refused', 'high', true],
    ],
    [
      'one in contact that refused them before',
      { status: 'online', isWayProven: true, dials: [dial('refused', SEEN)] },
      ['in-contact', 'high', true],
    ],
    [
      'one in contact that refuses them because nothing listens there',
      { status: 'online', dials: [dial('refused')] },
      ['in-contact', 'high', true],
    ],
    [
      'one in contact whose machine is not reached any more',
      { status: 'online', isWayProven: true, dials: [dial('timeout')] },
      ['timeout', 'medium', false],
    ],
    [
      'one in contact whose name is not known any more',
      { status: 'online', isWayProven: true, dials: [dial('dns')] },
      ['dns', 'medium', true],
    ],
    [
      'one in contact that answers',
      { status: 'online', isWayProven: true, dials: [dial('answered')] },
      ['in-contact', 'high', true],
    ],
    [
      'one in contact that was turned away since',
      { status: 'online', refusals: [refused('throttled')] },
      ['throttled', 'medium', true],
    ],
    [
      'one that announced its restart, and refuses connections',
      {
        status: 'online',
        goodbye: { reason: 'restart', receivedAt: SEEN },
        isWayProven: true,
        dials: [dial('refused')],
      },
      ['in-contact', 'high', true],
    ],
    [
      'one that just said that it shuts down',
      {
        status: 'online',
        goodbye: { reason: 'shutdown', receivedAt: SEEN },
        isWayProven: true,
        dials: [dial('refused')],
      },
      ['goodbye-shutdown', 'high', true],
    ],
    [
      'one that was turned away after its goodbye',
      {
        status: 'online',
        goodbye: { reason: 'restart', receivedAt: SEEN },
        refusals: [refused('throttled')],
      },
      ['throttled', 'medium', true],
    ],
    [
      'one in contact by its dates, alert and old errors',
      {
        status: 'online',
        certificate: { notBefore: 0, notAfter: NOW - 1 },
        isDuplicateSuspected: true,
        agentError: { code: 'dns', at: SEEN },
      },
      ['in-contact', 'high', true],
    ],
    ['one that is stopped', { status: 'stopped' }, ['power-stopped', 'high', null]],
    [
      'one that is stopped and does not answer',
      { status: 'stopped', dials: [dial('timeout')] },
      ['power-stopped', 'high', false],
    ],
    ['one that is revoked', { status: 'revoked' }, ['revoked', 'high', null]],
    [
      'a record without an agent',
      { status: 'pending', isEnrolled: false, lastSeenAt: null },
      ['never-seen', 'high', null],
    ],
    ['one that enrolled and never reported', { status: 'pending', lastSeenAt: null }, ['never-seen', 'low', null]],
    [
      'one that never reported and refuses dials',
      { status: 'pending', lastSeenAt: null, isWayProven: true, dials: [dial('refused')] },
      ['refused', 'high', true],
    ],
    [
      'one that never reported and is refused',
      { status: 'pending', lastSeenAt: null, refusals: [refused('tls-not-yet-valid')] },
      ['tls-not-yet-valid', 'high', true],
    ],

    [
      'a goodbye with the last report',
      { goodbye: { reason: 'shutdown', receivedAt: SEEN } },
      ['goodbye-shutdown', 'high', null],
    ],
    [
      'a goodbye before the last report',
      { goodbye: { reason: 'shutdown', receivedAt: SEEN - 1 } },
      ['unknown', 'low', null],
    ],
    [
      'a goodbye, and dials that are refused since',
      { goodbye: { reason: 'restart', receivedAt: SEEN }, isWayProven: true, dials: [dial('refused')] },
      ['goodbye-restart', 'high', true],
    ],
    [
      'a goodbye of one that was refused after it',
      { goodbye: { reason: 'restart', receivedAt: SEEN }, refusals: [refused('throttled', SEEN + 1)] },
      ['throttled', 'medium', true],
    ],
    [
      'a goodbye of one that was refused at that moment',
      { goodbye: { reason: 'restart', receivedAt: SEEN }, refusals: [refused('throttled', SEEN)] },
      ['goodbye-restart', 'high', null],
    ],

    ['an expired certificate at the port', { refusals: [refused('tls-expired')] }, ['tls-expired', 'high', true]],
    ['a refusal before the last report', { refusals: [refused('tls-expired', SEEN - 1)] }, ['unknown', 'low', null]],
    ['a refusal with the last report', { refusals: [refused('tls-expired', SEEN)] }, ['unknown', 'low', null]],
    ['a revoked certificate of one that is not', { refusals: [refused('revoked')] }, ['duplicate', 'medium', null]],
    ['a report under another name', { refusals: [refused('identity-mismatch')] }, ['duplicate', 'medium', null]],
    ['a report that was refused', { refusals: [refused('report-refused')] }, ['unknown', 'low', true]],
    ['one that sent too much', { refusals: [refused('throttled')] }, ['throttled', 'medium', true]],
    [
      'a revoked certificate, and too much',
      { refusals: [refused('throttled'), refused('revoked')] },
      ['duplicate', 'medium', true],
    ],
    [
      'a refused report, and too much',
      { refusals: [refused('report-refused'), refused('throttled')] },
      ['throttled', 'medium', true],
    ],
    [
      'refusals of both dates',
      { refusals: [refused('tls-not-yet-valid'), refused('tls-expired')] },
      ['tls-expired', 'high', true],
    ],

    ['a refused dial where dials worked', { isWayProven: true, dials: [dial('refused')] }, ['refused', 'high', true]],
    ['a refused dial where none ever worked', { dials: [dial('refused')] }, ['refused', 'medium', true]],
    ['a timeout where dials worked', { isWayProven: true, dials: [dial('timeout')] }, ['timeout', 'medium', false]],
    ['a timeout where none ever worked', { dials: [dial('timeout')] }, ['timeout', 'low', false]],
    ['a machine that hangs', { isWayProven: true, dials: [dial('timeout', NOW, true)] }, ['timeout', 'high', true]],
    ['an unreachable host', { isWayProven: true, dials: [dial('unreachable')] }, ['timeout', 'medium', false]],
    ['a name that is not known', { isWayProven: true, dials: [dial('dns')] }, ['dns', 'medium', null]],
    ['a reset', { isWayProven: true, dials: [dial('reset')] }, ['reset', 'high', true]],
    ['another computer there', { isWayProven: true, dials: [dial('tls-other-computer')] }, ['unknown', 'low', null]],
    ['something else there', { isWayProven: true, dials: [dial('protocol')] }, ['unknown', 'low', true]],
    ['a dial before the last report', { isWayProven: true, dials: [dial('refused', SEEN)] }, ['unknown', 'low', null]],
    ['a dial just after it', { isWayProven: true, dials: [dial('refused', SEEN + 1)] }, ['refused', 'high', true]],
    [
      'the later of two, first',
      { isWayProven: true, dials: [dial('refused', NOW), dial('timeout', NOW - 1)] },
      ['refused', 'high', true],
    ],
    [
      'the later of two, last',
      { isWayProven: true, dials: [dial('refused', NOW - 1), dial('timeout', NOW)] },
      ['timeout', 'medium', false],
    ],
    [
      'a listener that answers',
      { isWayProven: true, dials: [dial('refused', NOW - 1), dial('answered')] },
      ['unknown', 'low', true],
    ],
    [
      'one that was refused before its machine went',
      { refusals: [refused('throttled', NOW - 1)], dials: [dial('timeout')], isWayProven: true },
      ['throttled', 'medium', false],
    ],
    [
      'one that was refused when its machine was not reached',
      { refusals: [refused('throttled')], dials: [dial('timeout')], isWayProven: true },
      ['throttled', 'medium', true],
    ],
    [
      'a copy that is refused does not prove the machine',
      { refusals: [refused('revoked')], dials: [dial('timeout', NOW - 1)] },
      ['duplicate', 'medium', false],
    ],

    [
      'a revoked certificate, and a refused dial, which is surer',
      { refusals: [refused('revoked')], isWayProven: true, dials: [dial('refused')] },
      ['refused', 'high', true],
    ],
    [
      'a guess by a dial, and an open alert of a duplicate, which is surer',
      { isDuplicateSuspected: true, dials: [dial('timeout')] },
      ['duplicate', 'medium', false],
    ],

    ['an open alert of a duplicate', { isDuplicateSuspected: true }, ['duplicate', 'medium', null]],
    [
      'an open alert of a duplicate, and a refused dial',
      { isDuplicateSuspected: true, isWayProven: true, dials: [dial('refused')] },
      ['refused', 'high', true],
    ],
    [
      'an open alert of a duplicate, and a timeout',
      { isDuplicateSuspected: true, isWayProven: true, dials: [dial('timeout')] },
      ['timeout', 'medium', false],
    ],

    [
      'a certificate that has expired',
      { certificate: { notBefore: 0, notAfter: NOW - 1 } },
      ['tls-expired', 'medium', null],
    ],
    ['a certificate that expires now', { certificate: { notBefore: 0, notAfter: NOW } }, ['unknown', 'low', null]],
    [
      'a certificate that is not valid yet',
      { certificate: { notBefore: NOW + 1, notAfter: NOW + 2 } },
      ['tls-not-yet-valid', 'medium', null],
    ],
    [
      'a certificate that is valid from now',
      { certificate: { notBefore: NOW, notAfter: NOW + 2 } },
      ['unknown', 'low', null],
    ],
    ['no certificate', { certificate: null, clockOffsetMs: 9e12 }, ['unknown', 'low', null]],
    ['a clock beyond the certificate', { clockOffsetMs: SEEN + DAY - NOW + 1 }, ['clock-skew', 'medium', null]],
    ['a clock at the end of the certificate', { clockOffsetMs: SEEN + DAY - NOW }, ['unknown', 'low', null]],
    ['a clock before the certificate', { clockOffsetMs: SEEN - DAY - NOW - 1 }, ['clock-skew', 'medium', null]],
    ['a clock at the begin of the certificate', { clockOffsetMs: SEEN - DAY - NOW }, ['unknown', 'low', null]],
    ['an unknown clock', { clockOffsetMs: null }, ['unknown', 'low', null]],

    ["the agent's own error", { agentError: { code: 'dns', at: SEEN } }, ['dns', 'low', null]],
    [
      "the agent's own error of an unreachable manager",
      { agentError: { code: 'unreachable', at: SEEN } },
      ['timeout', 'low', null],
    ],
    [
      "the agent's own error of its clock",
      { agentError: { code: 'clock-skew', at: SEEN } },
      ['clock-skew', 'low', null],
    ],
    [
      "the agent's own error of being slowed",
      { agentError: { code: 'too-many-requests', at: SEEN } },
      ['throttled', 'low', null],
    ],
    [
      "the agent's own error of another authority",
      { agentError: { code: 'certificate-refused', at: SEEN } },
      ['tls-unknown-ca', 'low', null],
    ],
    [
      "the agent's own error that says nothing",
      { agentError: { code: 'toString', at: SEEN } },
      ['unknown', 'low', null],
    ],
    [
      "the agent's own error a quarter of an hour before",
      { agentError: { code: 'dns', at: SEEN - 900_000 } },
      ['dns', 'low', null],
    ],
    [
      "the agent's own error of long before",
      { agentError: { code: 'dns', at: SEEN - 900_001 } },
      ['unknown', 'low', null],
    ],
    [
      "the agent's own error by a clock ahead",
      { agentError: { code: 'dns', at: SEEN + 900_001 } },
      ['unknown', 'low', null],
    ],
    [
      "the agent's own error before any report",
      { status: 'pending', lastSeenAt: null, agentError: { code: 'dns', at: 0 } },
      ['never-seen', 'low', null],
    ],
    [
      "the agent's own error, and a dial that fits no better",
      { agentError: { code: 'dns', at: SEEN }, dials: [dial('timeout')] },
      ['timeout', 'low', false],
    ],
  ];
  for (const [name, facts, expected] of table)
    it(`is ${expected.slice(0, 2).join(', ')} for ${name}`, () => expect(of(facts)).to.deep.equal(expected));

  for (const reason of GOODBYE_REASONS)
    it(`takes the agent's word for ${reason}`, () =>
      expect(of({ goodbye: { reason, receivedAt: SEEN } })).to.deep.equal([goodbyeStatusReason(reason), 'high', null]));

  const instant = fc.integer({ min: SEEN - 10, max: NOW });
  const facts = fc.record<DiagnosisFacts>({
    at: fc.constant(NOW),
    status: fc.constantFrom('pending', 'online', 'late', 'offline', 'stopped', 'revoked'),
    statusReason: fc.constantFrom('unknown', 'absence-allowed', 'heartbeat-missed'),
    isEnrolled: fc.boolean(),
    lastSeenAt: fc.constantFrom(SEEN, null),
    goodbye: fc.option(fc.record({ reason: fc.constantFrom(...GOODBYE_REASONS), receivedAt: instant })),
    refusals: fc.array(fc.record({ code: fc.constantFrom(...REFUSAL_CODES), at: instant }), { maxLength: 4 }),
    dials: fc.array(
      fc.record({
        at: instant,
        result: fc.constantFrom('refused', 'timeout', 'dns', 'answered', 'x'),
        hostUp: fc.option(fc.boolean()),
      }),
      { maxLength: 2 },
    ),
    isWayProven: fc.boolean(),
    certificate: fc.option(fc.record({ notBefore: instant, notAfter: instant })),
    clockOffsetMs: fc.option(fc.integer({ min: -DAY, max: DAY })),
    agentError: fc.option(fc.record({ code: fc.constantFrom('dns', 'clock-skew', '__proto__'), at: instant })),
    isDuplicateSuspected: fc.boolean(),
  });

  it('always has a described reason, a confidence and advice', () => {
    fc.assert(
      fc.property(facts, (known) => {
        const { reason, confidence } = diagnose(known);
        expect(STATUS_REASONS).to.have.property(reason);
        expect(CONFIDENCES).to.include(confidence);
        expect(ADVICE[reason]).to.not.be.empty;
      }),
    );
  });

  it('never changes for what was known before the last report', () => {
    fc.assert(
      fc.property(facts, (known) => {
        const { lastSeenAt } = known;
        fc.pre(lastSeenAt !== null);
        const fresh = {
          ...known,
          refusals: known.refusals.filter(({ at }) => at > lastSeenAt),
          dials: known.dials.filter(({ at }) => at > lastSeenAt),
        };
        expect(diagnose(fresh)).to.deep.equal(diagnose(known));
      }),
    );
  });

  it('is never less sure for knowing more', () => {
    fc.assert(
      fc.property(facts, (known) => {
        fc.pre(known.status === 'offline');
        const sureness = (one: DiagnosisFacts) => CONFIDENCES.indexOf(diagnose(one).confidence);
        const more = { ...known, isDuplicateSuspected: true };
        expect(sureness(more)).to.be.at.least(sureness({ ...known, isDuplicateSuspected: false }));
      }),
    );
  });
});

describe('whether the machine answered', () => {
  const table: readonly (readonly [string, boolean | null, boolean | null])[] = [
    ['answered', true, true],
    ['refused', true, true],
    ['reset', true, true],
    ['protocol', true, true],
    ['tls-expired', true, true],
    ['tls-not-yet-valid', true, true],
    ['tls-unknown-ca', true, true],
    ['tls-refused', true, true],
    ['timeout', false, true],
    ['unreachable', false, true],
    ['tls-other-computer', null, null],
    ['dns', null, true],
    ['no-address', null, true],
    ['address-refused', null, true],
    ['own', null, true],
    ['unknown', null, true],
  ];
  for (const [result, without, connected] of table)
    it(`is ${without} after ${result}, and ${connected} once it took the connection`, () => {
      expect([hostUpOf(result, false), hostUpOf(result, true)]).to.deep.equal([without, connected]);
    });
});

describe('the advice', () => {
  const none: Circumstances = {
    hostUp: null,
    isInMaintenance: false,
    isInIncident: false,
    isProvingSettings: false,
    wasDeaf: false,
  };

  it('is that of the reason where nothing else bears on it', () => {
    for (const reason of Object.keys(STATUS_REASONS) as (keyof typeof STATUS_REASONS)[])
      expect(adviceFor(reason, none)).to.deep.equal(ADVICE[reason]);
  });

  const table: readonly (readonly [Partial<Circumstances>, readonly string[]])[] = [
    [{ isInIncident: true }, [CIRCUMSTANCE_ADVICE.isInIncident]],
    [{ isInMaintenance: true }, [CIRCUMSTANCE_ADVICE.isInMaintenance]],
    [{ wasDeaf: true }, [CIRCUMSTANCE_ADVICE.wasDeaf]],
    [{ isProvingSettings: true }, [CIRCUMSTANCE_ADVICE.isProvingSettings]],
    [{ hostUp: true }, [CIRCUMSTANCE_ADVICE.hostUp]],
    [{ hostUp: false }, [CIRCUMSTANCE_ADVICE.hostDown]],
    [
      { hostUp: false, isInIncident: true, isInMaintenance: true, wasDeaf: true, isProvingSettings: true },
      [
        CIRCUMSTANCE_ADVICE.isInIncident,
        CIRCUMSTANCE_ADVICE.isInMaintenance,
        CIRCUMSTANCE_ADVICE.wasDeaf,
        CIRCUMSTANCE_ADVICE.isProvingSettings,
        CIRCUMSTANCE_ADVICE.hostDown,
      ],
    ],
  ];
  for (const [circumstances, first] of table)
    it(`begins with what bears on it: ${Object.keys(circumstances).join(', ')} ${String(circumstances.hostUp)}`, () => {
      expect(adviceFor('unknown', { ...none, ...circumstances })).to.deep.equal([...first, ...ADVICE.unknown]);
    });

  for (const reason of ['in-contact', 'refused', 'revoked', 'power-stopped', 'goodbye-shutdown', 'suspended'] as const)
    it(`says nothing of the machine for ${reason}`, () => {
      for (const hostUp of [true, false]) expect(adviceFor(reason, { ...none, hostUp })).to.deep.equal(ADVICE[reason]);
    });

  it('is to look at an agent that hangs where connections are taken and not answered', () => {
    expect(adviceFor('timeout', { ...none, hostUp: true })).to.deep.equal([CIRCUMSTANCE_ADVICE.hostUp, HANGING_ADVICE]);
    expect(adviceFor('timeout', { ...none, hostUp: false })).to.include.members([...ADVICE.timeout]);
  });

  it('stands in docs/operations.md, reason by reason', () => {
    const page = readFileSync('docs/operations.md', 'utf8');
    for (const [reason, sentences] of Object.entries(ADVICE))
      expect(page, reason).to.include(
        `| \`${reason}\` | ${STATUS_REASONS[reason as keyof typeof STATUS_REASONS]} | ${sentences.join(' ')} |`,
      );
    for (const sentence of Object.values(CIRCUMSTANCE_ADVICE)) expect(page).to.include(sentence);
  });
});
