import { expect } from 'chai';
import { rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { createServer } from 'node:net';
import { networkInterfaces } from 'node:os';
import { join } from 'node:path';

import { dataDirectory } from '../../../agent/data-directory.js';
import { FakeManager } from '../../support/agent-fake-manager.js';
import { enrollInProcess } from '../../support/agent-in-process.js';
import { runAgent, spawnAgent, temporaryFolder, until, type AgentProcess } from '../../support/agent-process.js';
import { freePort } from '../../support/free-port.js';

interface Answered {
  readonly status: number;
  readonly type: string;
  readonly text: string;
}

const SAMPLE = /^([a-z_]+)(?:\{((?:[a-z_]+="(?:[^"\\]|\\.)*",?)*)\})? (-?\d+(?:\.\d+)?(?:e[+-]?\d+)?|NaN|\+Inf)$/;

/** Reads the text format of Prometheus strictly: each series is described before it is told, and told once. */
function parseMetrics(text: string): Map<string, number> {
  const described = new Set<string>();
  const samples = new Map<string, number>();
  for (const line of text.split('\n').filter((one) => one !== '')) {
    const comment = /^# (?:HELP|TYPE) (\S+) .+$/.exec(line);
    if (comment) {
      described.add(comment[1]!);
      continue;
    }
    const { key, series, value } = parseSample(line);
    expect(
      [series, series.replace(/_(?:bucket|sum|count)$/, '')].some((name) => described.has(name)),
      line,
    ).to.equal(true);
    expect(samples.has(key), `twice: ${key}`).to.equal(false);
    samples.set(key, value);
  }
  return samples;
}

function parseSample(line: string) {
  const [, series = '', labels, value = ''] = SAMPLE.exec(line) ?? [];
  expect(series, `a sample: ${line}`).not.to.equal('');
  const key = labels === undefined ? series : `${series}{${labels}}`;
  return { key, series, value: Number(value.replace('+Inf', 'Infinity')) };
}

describe('the metrics endpoint of the agent', function () {
  this.timeout(60_000);
  let folder: ReturnType<typeof temporaryFolder>;
  let manager: FakeManager;
  let agent: AgentProcess | undefined;
  const directory = () => dataDirectory(join(folder.path, 'web1'));

  beforeEach(async () => {
    folder = temporaryFolder();
    manager = await FakeManager.start(folder.path);
    await enrollInProcess(directory(), manager);
  });
  afterEach(async () => {
    await agent?.kill('SIGKILL');
    agent = undefined;
    await manager.close();
    folder.remove();
  });

  const ask = (port: number, options: { host?: string; path?: string; method?: string; header?: string } = {}) =>
    new Promise<Answered>((resolve, reject) => {
      const { host = '127.0.0.1', path = '/metrics', method = 'GET', header } = options;
      const headers = header === undefined ? {} : { Host: header };
      const outgoing = request({ host, port, path, method, headers, timeout: 3000 }, (answer) => {
        let text = '';
        answer.on('data', (chunk: Buffer) => (text += chunk.toString()));
        answer.on('end', () =>
          resolve({ status: answer.statusCode ?? 0, type: answer.headers['content-type'] ?? '', text }),
        );
      });
      outgoing.on('timeout', () => outgoing.destroy(new Error('timeout')));
      outgoing.on('error', reject).end();
    });
  const start = (args: readonly string[]) => (agent = spawnAgent(['run', '--dir', directory().path, ...args]));
  const serves = (port: number) =>
    until(
      'it serves',
      () =>
        ask(port).then(
          ({ status }) => status === 200,
          () => false,
        ),
      20_000,
    );

  it('tells exchanges, failures, spool, settings, channel, clock, age and collectors, in the text format', async () => {
    const port = await freePort();
    manager.faults.push({ kind: 'problem', status: 503, code: 'unavailable', retryAfter: 1 });
    start(['--metrics-port', String(port)]);
    await serves(port);
    await until(
      'it is in contact',
      async () => (await ask(port)).text.includes('contact_state{state="online"} 1'),
      20_000,
    );
    const { type, text } = await ask(port);
    expect(type).to.match(/^text\/plain; version=0\.0\.4/);
    const samples = parseMetrics(text);
    const value = (key: string) => samples.get(`wardbeat_agent_${key}`);
    expect(value('exchange_seconds_count{outcome="ok"}')).to.be.at.least(1);
    expect(value('exchange_seconds_count{outcome="failed"}')).to.equal(1);
    expect(value('exchange_failures_total{reason="unavailable"}')).to.equal(1);
    expect(value('settings_generation')).to.equal(manager.generation);
    expect(value('channel_state{state="open"}')).to.equal(0);
    expect(value('clock_offset_seconds')).to.be.within(-5, 5);
    expect(value('last_contact_age_seconds')).to.be.within(0, 60);
    expect(value('collecting')).to.equal(1);
    for (const lane of ['control', 'detection', 'log', 'metric']) {
      expect(value(`spool_next_sequence{lane="${lane}"}`), lane).to.be.at.least(0);
      expect(value(`spool_acknowledged_sequence{lane="${lane}"}`), lane).to.be.at.least(-1);
      expect(value(`spool_dropped_total{lane="${lane}"}`), lane).to.equal(0);
    }
    for (const collector of ['counters', 'facts'])
      expect(value(`collector_duration_seconds{collector="${collector}"}`), collector).to.be.within(0, 10);
    expect(value('certificate_expires_timestamp_seconds')).to.be.greaterThan(Date.now() / 1000);
  });

  it('is for programs of this computer alone', async () => {
    const port = await freePort();
    start(['--metrics-port', String(port)]);
    await serves(port);
    expect((await ask(port, { header: 'rebound.example' })).status).to.equal(421);
    expect((await ask(port, { header: `localhost:${port}` })).status).to.equal(200);
    expect((await ask(port, { path: '/' })).status).to.equal(404);
    expect((await ask(port, { method: 'POST' })).status).to.equal(405);
    const others = Object.values(networkInterfaces())
      .flatMap((list = []) => list)
      .filter(({ internal, family }) => !internal && family === 'IPv4');
    for (const { address } of others) {
      const answer = await ask(port, { host: address }).then(
        ({ status }) => status,
        (error: Error) => error.message,
      );
      expect(answer, address).to.match(/ECONNREFUSED|timeout/);
    }
  });

  it('is off unless wanted; the file of the agent wants it too, and a slip in it ends the start', async () => {
    const port = await freePort();
    const file = join(directory().path, 'agent.json');
    writeFileSync(file, JSON.stringify({ metricsPort: port }));
    start([]);
    await serves(port);
    await agent?.kill('SIGKILL');
    for (const text of ['{"metricPort": 1}', '{"metricsPort": 0}', '[]', '{']) {
      writeFileSync(file, text);
      const { code, stderr } = await runAgent(['run', '--dir', directory().path]);
      expect([code, stderr.includes('agent.json')], text).to.deep.equal([2, true]);
    }
    rmSync(file);
    start([]);
    await until('it is in contact', () => agent!.stderr().includes('"online"'), 20_000);
    expect(await ask(port).catch((error: Error) => error.message)).to.contain('ECONNREFUSED');
    expect((await runAgent(['run', '--metrics-port', '70000'])).code).to.equal(2);
  });

  it('stops nothing where its port is taken, and the reports say so', async () => {
    const other = createServer();
    const port = await new Promise<number>((resolve) =>
      other.listen(0, '127.0.0.1', () => resolve((other.address() as { port: number }).port)),
    );
    start(['--metrics-port', String(port)]);
    const part = () => manager.reports.at(-1)?.report.components.find(({ name }) => name === 'metrics');
    await until('it tells', () => part()?.state === 'offline', 20_000);
    expect(part()?.detail).to.contain('EADDRINUSE');
    other.close();
  });
});
