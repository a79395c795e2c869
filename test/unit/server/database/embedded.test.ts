import { expect } from 'chai';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createSystemClock } from '../../../../lib/clock.js';
import { claimFolder } from '../../../../server/database/embedded/owner-file.js';
import { parsePostmasterFile } from '../../../../server/database/embedded/postmaster-file.js';
import { levelOf } from '../../../../server/database/embedded/postmaster.js';
import { renderAccess, renderSettings } from '../../../../server/database/embedded/postgres-settings.js';
import { isRunning, parseProcessStat } from '../../../../server/database/embedded/process-table.js';
import { scramVerifier } from '../../../../server/database/embedded/roles.js';

describe('supervising an embedded PostgreSQL', () => {
  it('reads a process whose name holds spaces and parentheses', () => {
    const fields = Array.from({ length: 40 }, (_, index) => String(index + 4));
    expect(parseProcessStat(`12 (a) b (c)) Z ${fields.join(' ')}`)).to.deep.equal({ state: 'Z', startTicks: '22' });
  });

  it('knows this process as running and one that cannot exist as not', () => {
    expect(isRunning(process.pid)).to.equal(true);
    expect(isRunning(2_147_483_647)).to.equal(false);
  });

  it('reads whether the postmaster is ready, and takes a torn file for none', () => {
    const lines = ['77', '/c', '1', '5432', '/s', '', ' 1 2', 'ready   '];
    expect(parsePostmasterFile(lines.join('\n'))).to.deep.equal({ pid: 77, ready: true });
    expect(parsePostmasterFile(lines.slice(0, 7).join('\n'))).to.deep.equal({ pid: 77, ready: false });
    expect(parsePostmasterFile(lines.with(7, 'starting').join('\n'))).to.deep.equal({ pid: 77, ready: false });
    for (const text of ['', '\n', 'x\n', '-5\n']) expect(parsePostmasterFile(text)).to.equal(undefined);
  });

  it('computes the SCRAM verifier of RFC 7677 §3', () => {
    const salt = Buffer.from('W22ZaJ0SNY7soEsUEjb6gQ==', 'base64');
    expect(scramVerifier('pencil', salt)).to.equal(
      'SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=',
    );
  });

  it('lets nobody in but the two roles', () => {
    expect(renderAccess('own')).to.equal(
      'local wardbeat wardbeat_owner,wardbeat_app scram-sha-256\nlocal all all reject\n',
    );
  });

  it('quotes settings, and lets overrides win once', () => {
    const text = renderSettings({ fsync: 'off', max_connections: "1'2" });
    expect(text).to.include("fsync = 'off'\n");
    expect(text.match(/^max_connections = .*$/gm)).to.deep.equal(["max_connections = '1''2'"]);
  });

  it('logs by severity', () => {
    expect(['PANIC:  x', 'FATAL:  x', 'WARNING:  x', 'ERROR:  x', 'LOG:  PANIC:'].map(levelOf)).to.deep.equal([
      'error',
      'warn',
      'warn',
      'debug',
      'debug',
    ]);
  });

  describe('claims its folder', () => {
    let folder: string;
    beforeEach(() => (folder = mkdtempSync(join(tmpdir(), 'wardbeat-owner-'))));
    afterEach(() => rmSync(folder, { recursive: true }));

    const clock = createSystemClock();

    it('once at a time', async () => {
      const path = join(folder, 'owner.json');
      const release = await claimFolder(path, clock);
      const refusal = await claimFolder(path, clock).catch((error: Error) => error.message);
      expect(refusal).to.include(`in use by process ${process.pid}`);
      release();
      (await claimFolder(path, clock))();
    });

    it('from a process that is gone, has another start, or ran under another kernel', async () => {
      const path = join(folder, 'owner.json');
      const release = await claimFolder(path, clock);
      const mine = JSON.parse(readFileSync(path, 'utf8')) as Record<string, unknown>;
      release();
      for (const stale of [{ pid: 2_147_483_647 }, { startTicks: '1' }, { bootId: 'other' }]) {
        writeFileSync(path, JSON.stringify({ ...mine, ...stale }));
        (await claimFolder(path, clock))();
      }
      writeFileSync(path, '{"pid":');
      (await claimFolder(path, clock))();
    });
  });
});
