import { expect } from 'chai';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { acquireProcessLock } from '../../../lib/process-lock.js';

describe('a process lock', () => {
  const folder = mkdtempSync(join(tmpdir(), 'wardbeat-lock-'));
  const path = join(folder, 'lock');
  after(() => rmSync(folder, { recursive: true }));

  it('is held by one living process, and free after its release', () => {
    const lock = acquireProcessLock(path);
    expect(acquireProcessLock(path)).to.deep.equal({ heldBy: process.pid });
    if ('release' in lock) lock.release();
    expect(readdirSync(folder)).to.deep.equal([]);
  });

  it('is taken over from a process that ended without releasing it', () => {
    const program = `import('${join(process.cwd(), 'dist/lib/process-lock.js')}').then((lib) => { lib.acquireProcessLock('${path}'); process.kill(process.pid, 'SIGKILL'); })`;
    expect(spawnSync(process.execPath, ['-e', program]).signal).to.equal('SIGKILL');
    expect(readdirSync(folder)).to.include('lock');
    expect(acquireProcessLock(path)).to.have.property('release');
    expect(readdirSync(folder)).to.deep.equal(['lock']);
  });

  it('is not mistaken when its pid belongs to another process by now', () => {
    writeFileSync(path, `${process.pid} 1 some-other-boot`);
    expect(acquireProcessLock(path)).to.have.property('release');
  });
});
