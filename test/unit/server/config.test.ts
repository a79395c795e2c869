import { expect } from 'chai';
import { inspect } from 'node:util';
import { ConfigurationError, readConfig, Secrets } from '../../../server/config.js';
import type { Environment } from '../../../server/environment-reader.js';

function faultsOf(env: Environment): readonly string[] {
  try {
    readConfig(env);
  } catch (error) {
    if (error instanceof ConfigurationError) return error.faults;
    throw error;
  }
  return [];
}

describe("the manager's configuration", () => {
  it('has a default for everything', () => {
    const { config } = readConfig({});
    expect(config).to.include({ adminHost: '127.0.0.1', adminPort: 4119, agentPort: 4120, logLevel: 'info' });
    expect([...config.roles]).to.deep.equal(['agents', 'admin', 'jobs']);
  });

  it('lists every fault at once', () => {
    const faults = faultsOf({
      WARDBEAT_ADMIN_PORT: '70000',
      WARDBEAT_AGENT_PORT: 'x',
      WARDBEAT_LOG_LEVEL: 'loud',
      WARDBEAT_ROLES: 'agents,kitchen',
      WARDBEAT_ADMIN_ORIGIN: 'https://a.example/path',
      WARDBEAT_ADMIN_TLS_CERT: '/nowhere/cert.pem',
      DATABASE_URL: 'mysql://x',
      WARDBEAT_ADMIN_PASSWORD: 'short',
      WARDBEAT_TYPO: '1',
      WARDBEAT_TRUST_DOMAIN: 'UPPER',
    });
    for (const name of [
      'ADMIN_PORT',
      'AGENT_PORT',
      'LOG_LEVEL',
      'ROLES',
      'ADMIN_ORIGIN',
      'ADMIN_TLS_CERT',
      'DATABASE_URL',
      'ADMIN_PASSWORD',
      'TYPO',
      'TRUST_DOMAIN',
    ])
      expect(
        faults.some((fault) => fault.includes(name)),
        name,
      ).to.equal(true);
  });

  it('takes a secret from a file or directly, not both', () => {
    expect(faultsOf({ DATABASE_URL: 'postgres://a@b/c', DATABASE_URL_FILE: 'package.json' })).to.have.length(1);
    expect(faultsOf({ DATABASE_URL_FILE: '/nowhere/at/all' })).to.deep.equal([
      'DATABASE_URL_FILE must be a file that can be read',
    ]);
  });

  it('drains for a whole number of seconds, and pings http or https', () => {
    expect(readConfig({}).config.drainSeconds).to.equal(0);
    expect(readConfig({ WARDBEAT_DRAIN_SECONDS: '900' }).config.drainSeconds).to.equal(900);
    for (const seconds of ['901', '-1', '1.5', '1e2', 'x'])
      expect(faultsOf({ WARDBEAT_DRAIN_SECONDS: seconds }), seconds).to.have.length(1);
    const url = 'https://checker.example.org/ping/canary';
    expect(readConfig({ WARDBEAT_DEADMAN_URL: url }).secrets.deadManUrl).to.equal(url);
    for (const bad of ['ftp://canary.example.org/', 'canary', '/canary'])
      expect(faultsOf({ WARDBEAT_DEADMAN_URL: bad }), bad).to.deep.equal([
        'WARDBEAT_DEADMAN_URL must be an http or https URL',
      ]);
  });

  it('never shows a secret', () => {
    const secrets = new Secrets({
      databaseUrl: 'postgres://u:canary@h/d',
      adminPassword: 'canary-password',
      deadManUrl: 'https://h/canary',
    });
    expect(JSON.stringify({ secrets }) + inspect(secrets) + String(inspect({ secrets }, { depth: 9 }))).not.to.include(
      'canary',
    );
  });
});
