import { expect } from 'chai';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { makeDataDir, removeDataDir } from '../support/manager-process.js';
import { makeTlsFiles } from '../support/tls-files.js';
import { runWardbeat } from '../support/wardbeat-cli.js';

describe('a start that the configuration forbids', function () {
  this.timeout(60_000);
  const root = makeDataDir();
  const dataDir = join(root, 'manager');
  const inRoot = (name: string) => join(root, name);
  before(async () => {
    await makeTlsFiles(root, 'a');
    await makeTlsFiles(root, 'b');
    writeFileSync(inRoot('text'), 'no certificate');
    writeFileSync(inRoot('short'), 'short\n');
  });
  after(() => removeDataDir(root));

  type Row = readonly [name: string, env: Readonly<Record<string, string>>, faults: readonly string[]];
  const rows: readonly Row[] = [
    [
      'of many single values',
      {
        WARDBEAT_ADMIN_PORT: '70000',
        WARDBEAT_AGENT_PORT: '-1',
        WARDBEAT_ADMIN_HOST: 'https://localhost',
        WARDBEAT_AGENT_HOST: 'a b',
        WARDBEAT_PUBLIC_HOSTS: 'good.example,bad host',
        WARDBEAT_LOG_LEVEL: 'loud',
        WARDBEAT_ROLES: 'agents,kitchen',
        WARDBEAT_TRUST_DOMAIN: 'UPPER',
        WARDBEAT_ADMIN_ORIGIN: 'https://a.example/path',
        WARDBEAT_ENROLL_TOTAL: '0',
        WARDBEAT_DIAL_ALLOWED_CIDRS: '10.0.0.0/8,10.0.0.0/33',
        WARDBEAT_NOTIFY_ALLOWED_CIDRS: 'anywhere',
        WARDBEAT_ADMIN_PASSWORD_FILE: inRoot('short'),
        WARDBEAT_AMDIN_PORT: '1',
        DATABASE_URL: 'mysql://canary@x',
      },
      [
        'WARDBEAT_ADMIN_PORT must',
        'WARDBEAT_AGENT_PORT must',
        'WARDBEAT_ADMIN_HOST must',
        'WARDBEAT_AGENT_HOST must',
        'WARDBEAT_PUBLIC_HOSTS must',
        'WARDBEAT_LOG_LEVEL must',
        'WARDBEAT_ROLES must',
        'WARDBEAT_TRUST_DOMAIN must',
        'WARDBEAT_ADMIN_ORIGIN must',
        'WARDBEAT_ENROLL_TOTAL must',
        'WARDBEAT_DIAL_ALLOWED_CIDRS must',
        'WARDBEAT_NOTIFY_ALLOWED_CIDRS must',
        'WARDBEAT_ADMIN_PASSWORD must',
        'WARDBEAT_AMDIN_PORT is not a setting',
        'DATABASE_URL must',
      ],
    ],
    [
      'of TLS files that are not there',
      { WARDBEAT_ADMIN_TLS_CERT: '/nowhere/cert', WARDBEAT_ADMIN_TLS_KEY: '/nowhere/key' },
      ['WARDBEAT_ADMIN_TLS_CERT must be a file', 'WARDBEAT_ADMIN_TLS_KEY must be a file'],
    ],
    [
      'of TLS files that hold neither certificate nor key',
      { WARDBEAT_ADMIN_TLS_CERT: inRoot('text'), WARDBEAT_ADMIN_TLS_KEY: inRoot('text') },
      ['WARDBEAT_ADMIN_TLS_CERT must be a file with a certificate', 'WARDBEAT_ADMIN_TLS_KEY must be a file with a'],
    ],
    [
      'of a certificate beside the key of another',
      { WARDBEAT_ADMIN_TLS_CERT: inRoot('a.crt'), WARDBEAT_ADMIN_TLS_KEY: inRoot('b.key') },
      ['WARDBEAT_ADMIN_TLS_KEY must be the key of the first certificate in WARDBEAT_ADMIN_TLS_CERT'],
    ],
    [
      'of a certificate without a key',
      { WARDBEAT_ADMIN_TLS_CERT: inRoot('a.crt') },
      ['WARDBEAT_ADMIN_TLS_KEY must be given together'],
    ],
    [
      'of equal ports, and roles that need a shared database',
      { WARDBEAT_ADMIN_PORT: '4119', WARDBEAT_AGENT_PORT: '4119', WARDBEAT_ROLES: 'admin,jobs' },
      ['WARDBEAT_ADMIN_PORT and WARDBEAT_AGENT_PORT must differ', 'WARDBEAT_ROLES must name all roles'],
    ],
    [
      'of an owner without an application role',
      { DATABASE_OWNER_URL: 'postgres://canary@localhost/x' },
      ['DATABASE_URL must be given together'],
    ],
  ];
  for (const [name, env, faults] of rows) {
    it(`lists every fault ${name}, ends with 2 and makes nothing`, async () => {
      const { code, stderr } = await runWardbeat(['start'], { WARDBEAT_DATA_DIR: dataDir, ...env });
      expect(code, stderr).to.equal(2);
      const listed = stderr.split('\n').filter((line) => line.startsWith('- '));
      expect(listed, stderr).to.have.length(faults.length);
      for (const fault of faults) expect(stderr).to.include(`- ${fault}`);
      expect(stderr).not.to.include('canary');
      expect(existsSync(dataDir)).to.equal(false);
    });
  }
});
