import { expect } from 'chai';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { moduleGraph } from '../../../scripts/package-files.js';

describe('what the package of the agent holds', () => {
  it('is also what is loaded when it is needed', () => {
    const { files, packages } = moduleGraph('dist', 'agent/main.js');
    expect(files).to.include.members(['agent/commands.js', 'agent/run-command.js', 'agent/compose.js']);
    expect(packages).to.have.members(['classic-level', 'pino', 'prom-client', 'ws']);
  });

  it('cannot be known where a name is made at run time, or a package is loaded then', () => {
    const root = mkdtempSync(join(tmpdir(), 'wardbeat-graph-'));
    try {
      for (const text of ["await import('pino');", 'await import(name);', "require('./other.js');"]) {
        writeFileSync(join(root, 'main.js'), text);
        expect(() => moduleGraph(root, 'main.js'), text).to.throw('main.js imports at run time');
      }
    } finally {
      rmSync(root, { recursive: true });
    }
  });
});
