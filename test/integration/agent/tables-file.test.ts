import { expect } from 'chai';
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { tablesFile } from '../../../agent/firewall/tables-file.js';
import type { FirewallRule } from '../../../policies/firewall-rules.js';
import { temporaryFolder } from '../../support/agent-process.js';

const DENY: FirewallRule = { action: 'deny', direction: 'incoming' };
const TABLES = {
  loaded: { isIsolation: false, text: 'table inet wardbeat {\n}\n' },
  rules: [DENY],
  listeners: [{ port: 4118, sources: ['10.9.9.0/24', '00:11:22:aa:bb:cc'] }],
};

describe('what is kept of the tables of the agent', () => {
  let folder: ReturnType<typeof temporaryFolder>;
  const path = () => join(folder.path, 'firewall.json');
  beforeEach(() => (folder = temporaryFolder()));
  afterEach(() => folder.remove());

  it('is read as it was written, by its owner, until it is taken away', () => {
    const file = tablesFile(folder, 'computer/key');
    expect(file.read()).to.equal(undefined);
    file.write(TABLES);
    expect(file.read()).to.deep.equal(TABLES);
    expect(statSync(path()).mode & 0o777).to.equal(0o600);
    file.write({});
    expect(file.read()).to.deep.equal({});
    file.write(undefined);
    expect([file.read(), existsSync(path())]).to.deep.equal([undefined, false]);
  });

  it('says of another’s, and of one that is damaged, only that tables may stand', () => {
    const file = tablesFile(folder, 'computer/key');
    file.write(TABLES);
    expect(tablesFile(folder, 'another/key').read()).to.deep.equal({});
    const text = readFileSync(path(), 'utf8');
    for (const damaged of ['', text.slice(0, 40), text.replace('deny', 'maybe')]) {
      writeFileSync(path(), damaged);
      expect(file.read(), damaged).to.deep.equal({});
    }
  });
});
