import { generateKeyPairSync } from 'node:crypto';
import { expect } from 'chai';
import { createSigningRequest } from '../../../certs/csr.js';
import { createLog } from '../../../lib/log.js';
import type { NewCertificate } from '../../../server/certificates/certificate-repository.js';
import {
  createReportRenewals,
  MOST_PER_BATCH,
  type RenewingReport,
} from '../../../server/certificates/report-renewals.js';
import type { Sql } from '../../../server/database/sql.js';
import type { Exchange } from '../../../server/heartbeats/exchange.js';

const DAY_MS = 86_400_000;
const NOW = 1000 * DAY_MS;
const sql: Sql = { query: () => Promise.reject(new Error('No statement is expected')) };
const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const csr = createSigningRequest(privateKey);

describe('renewals of one batch', () => {
  let stored: NewCertificate[];
  let fault: Error | undefined;

  const open = () => {
    stored = [];
    fault = undefined;
    return createReportRenewals({
      authority: {
        intermediatePem: 'intermediate',
        rootPem: 'root',
        issueComputer({ computerId, lifetimeDays }) {
          if (fault) throw fault;
          const pem = `certificate of ${computerId}`;
          return { serial: `of ${computerId}`, pem, notBefore: NOW, notAfter: NOW + lifetimeDays * DAY_MS };
        },
      },
      certificates: {
        insertAll: async (_sql, certificates) => void stored.push(...certificates),
        findByKeys: async () => [],
        use: async () => [],
      },
      events: { appendManagerEvents: async () => undefined },
      fleetClock: { trustedTime: () => NOW, monotonic: () => 0 },
      log: createLog({ name: 'test', level: 'silent' }),
    });
  };
  const reportOf = (computerId: string): RenewingReport => ({
    exchange: {
      identity: { computerId, serial: 'before' },
      report: { renewal: { csr } },
      receivedAt: 0,
    } as unknown as Exchange,
    isFirstUse: false,
    settings: { certificateDays: { lifetime: 30, renewAfterExpiry: 7, expiryAlert: 7 } },
  });

  it('are few, and who is left out has an answer when it asks again', async () => {
    const renewals = open();
    const all = Array.from({ length: MOST_PER_BATCH + 4 }, (_, n) => reportOf(`computer ${n}`));
    const first = await renewals.store(sql, all);
    expect(first.size).to.equal(MOST_PER_BATCH);
    expect(stored).to.have.length(MOST_PER_BATCH);
    const rest = all.filter(({ exchange }) => !first.has(exchange.identity.computerId));
    const second = await renewals.store(sql, rest);
    expect([...second.values()].map(({ renewed }) => renewed?.certificate)).to.deep.equal(
      rest.map(({ exchange }) => `certificate of ${exchange.identity.computerId}`),
    );
    expect(new Set(stored.map(({ computerId }) => computerId)).size).to.equal(all.length);
  });

  it('are refused while the authority cannot issue, and the reports are stored all the same', async () => {
    const renewals = open();
    fault = new Error('the key cannot be read');
    const answers = await renewals.store(sql, [reportOf('web1')]);
    expect(answers.get('web1')?.renewalRefused?.code).to.equal('unavailable');
    expect(stored).to.deep.equal([]);
    fault = undefined;
    expect((await renewals.store(sql, [reportOf('web1')])).get('web1')?.renewed).not.to.equal(undefined);
  });
});
