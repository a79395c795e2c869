import { expect } from 'chai';
import {
  buildCase,
  buildResult,
  exitCodeOf,
  renderCases,
  type CaseMeasurement,
  type Tally,
} from '../../../scripts/bench/bench-report.js';

const tally = (changes: Partial<Tally> = {}): Tally => ({
  operations: 1000,
  errors: 0,
  elapsedMs: 2000,
  cpu: { manager: 70, database: 10 },
  latenciesMs: [1, 2, 3],
  ...changes,
});
const BARE = tally({ elapsedMs: 1000, cpu: { manager: 20, database: 0 } });
const measurement = (changes: Partial<CaseMeasurement> = {}): CaseMeasurement => ({
  name: 'kept-https',
  agents: 200,
  measured: tally(),
  idleMsPerSecond: { manager: 10, database: 5 },
  baseline: { name: 'bare-https', tally: BARE },
  target: { of: 'cpuMs.total', value: 0.085 },
  ...changes,
});

describe('the report of a bench', () => {
  it('has the shape that the contract fixes', () => {
    expect(buildCase(measurement())).to.deep.equal({
      name: 'kept-https',
      agents: 200,
      operations: 1000,
      errors: 0,
      perSecond: 500,
      cpuMs: { manager: 0.07, database: 0.01, total: 0.08 },
      idleMsPerSecond: { manager: 10, database: 5 },
      p50Ms: 2,
      p95Ms: 3,
      p99Ms: 3,
      baseline: { name: 'bare-https', perSecond: 1000, cpuMs: { manager: 0.02, database: 0, total: 0.02 } },
      ratio: 0.25,
      target: 0.085,
      targetOf: 'cpuMs.total',
      met: true,
    });
    const result = buildResult('ingest', 0, []);
    expect(result).to.have.all.keys('bench', 'node', 'cores', 'startedAt', 'cases');
    expect(result).to.include({ bench: 'ingest', node: process.versions.node, startedAt: '1970-01-01T00:00:00.000Z' });
    expect(JSON.stringify(result)).not.to.include('\n');
  });

  it('meets a target at its bound and not beside it', () => {
    const meets = (of: 'ratio' | 'cpuMs.total', value: number) => buildCase(measurement({ target: { of, value } })).met;
    expect(meets('cpuMs.total', 0.08)).to.equal(true);
    expect(meets('cpuMs.total', 0.0799)).to.equal(false);
    expect(meets('ratio', 0.25)).to.equal(true);
    expect(meets('ratio', 0.251)).to.equal(false);
  });

  it('counts what a case without target or baseline did', () => {
    const result = buildCase(measurement({ target: null, baseline: null }));
    expect(result).to.include({ baseline: null, ratio: null, target: null, targetOf: null, met: true });
  });

  it('never calls a case with errors or without operations met', () => {
    const failed = buildCase(measurement({ measured: tally({ errors: 1 }) }));
    const bareFailed = buildCase(measurement({ baseline: { name: 'bare', tally: tally({ errors: 2 }) } }));
    const idle = buildCase(measurement({ measured: tally({ operations: 0, latenciesMs: [] }) }));
    expect([failed.met, bareFailed.met, idle.met]).to.deep.equal([false, false, false]);
    expect([failed.errors, bareFailed.errors]).to.deep.equal([1, 2]);
    expect(idle.cpuMs.total).to.equal(0);
  });

  it('exits 0 when measured, 1 on an error, 3 only where targets are checked', () => {
    const exit = (changes: Partial<CaseMeasurement>, check: boolean) =>
      exitCodeOf(buildResult('ingest', 0, [buildCase(measurement(changes))]), { check });
    const missed = { target: { of: 'ratio', value: 0.9 } } as const;
    expect(exit({}, true)).to.equal(0);
    expect(exit(missed, false)).to.equal(0);
    expect(exit(missed, true)).to.equal(3);
    expect(exit({ ...missed, measured: tally({ errors: 1 }) }, true)).to.equal(1);
    expect(exit({ measured: tally({ operations: 0 }) }, false)).to.equal(1);
  });

  it('tells a human what was measured and whether the target is met', () => {
    const text = renderCases([buildCase(measurement())]);
    expect(text)
      .to.include('kept-https')
      .and.include('CPU 0.08 ms each')
      .and.include('target CPU at most 0.085 ms: met');
  });
});
