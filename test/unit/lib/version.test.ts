import { expect } from 'chai';
import { readFileSync } from 'node:fs';

import { AGENT_VERSION } from '../../../agent/agent-version.js';
import { VERSION } from '../../../lib/version.js';
import { MANAGER_VERSION } from '../../../server/version.js';

describe('the version', () => {
  it('is the one of package.json everywhere', () => {
    const { version } = JSON.parse(readFileSync('package.json', 'utf8')) as { version: string };
    const lock = JSON.parse(readFileSync('package-lock.json', 'utf8')) as {
      version: string;
      packages: Record<string, { version: string }>;
    };
    expect([VERSION, AGENT_VERSION, MANAGER_VERSION, lock.version, lock.packages['']?.version]).to.deep.equal(
      Array.from({ length: 5 }, () => version),
    );
  });
});
