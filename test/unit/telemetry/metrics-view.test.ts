import { expect } from 'chai';
import { toMetrics } from '../../../server/telemetry/metrics-view.js';
import { LONGEST_NAME, LONGEST_PATH } from '../../../server/telemetry/telemetry-dto.js';

describe('what is shown of counters', () => {
  const shownOf = (host: object) => toMetrics({ host }, null);

  it('is null and empty where nothing, or nonsense, was told', () => {
    for (const counters of [
      null,
      {},
      [],
      'text',
      { host: 7 },
      { host: { cpu: [], disk: { mounts: 1 }, memory: null } },
    ])
      expect(toMetrics(counters, null), JSON.stringify(counters)).to.deep.equal({
        receivedAt: null,
        uptimeSeconds: null,
        processes: null,
        load: [],
        cpuUsedPercent: null,
        memory: { totalBytes: null, availableBytes: null },
        swap: { totalBytes: null, availableBytes: null },
        mounts: [],
        network: [],
      });
  });

  it('has no text that is longer than its schema says, and none that is cut within a character', () => {
    const long = `${'x'.repeat(LONGEST_NAME - 1)}😀${'x'.repeat(LONGEST_PATH)}`;
    const { mounts, network } = shownOf({
      disk: { mounts: [{ path: long, device: long, type: long }] },
      network: [{ name: long }],
    });
    const [mount] = mounts;
    expect([mount?.path.length, mount?.device.length]).to.deep.equal([LONGEST_PATH, LONGEST_PATH]);
    expect([mount?.type.length, network[0]?.name.length]).to.deep.equal([LONGEST_NAME, LONGEST_NAME]);
    for (const text of [mount?.path, mount?.type, network[0]?.name]) expect(text?.isWellFormed()).to.equal(true);
  });

  it('takes no amount that is negative or beyond what JSON carries exactly', () => {
    for (const uptimeSeconds of [-1, 2 ** 60, Number.NaN, '5'])
      expect(shownOf({ uptimeSeconds }).uptimeSeconds, String(uptimeSeconds)).to.equal(null);
    expect(shownOf({ uptimeSeconds: 4.6 }).uptimeSeconds).to.equal(5);
  });

  it('lists 64 mounts and interfaces at most', () => {
    const many = Array.from({ length: 100 }, (_, index) => ({ name: `eth${index}`, path: `/${index}` }));
    const { mounts, network } = shownOf({ disk: { mounts: many }, network: many });
    expect([mounts.length, network.length]).to.deep.equal([64, 64]);
  });
});
