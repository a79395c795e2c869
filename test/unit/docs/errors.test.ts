import { expect } from 'chai';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { PROBLEM_CODES } from '../../../lib/problem-codes.js';

const SOURCES = ['server', 'agent', 'policies', 'certs', 'protocol', 'lib'];
/** Awaited by a part that is not merged yet: taken out of the list with it. */
const AWAITED: readonly string[] = [];

function sourceFiles(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return sourceFiles(path);
    return path.endsWith('.ts') && !path.endsWith('problem-codes.ts') ? [path] : [];
  });
}

describe('docs/errors.md', () => {
  const rows = readFileSync('docs/errors.md', 'utf8').matchAll(/^\| `([a-z-]+)` \| (\d+) \| (.+) \| (.+) \|$/gm);
  const documented = new Map([...rows].map(([, code, status]) => [code, Number(status)]));
  const code = SOURCES.flatMap(sourceFiles).map((path) => readFileSync(path, 'utf8'));
  /** Codes that stand in `new Problem('…'`, or as a refusal's `code: '…'` that is handed on to it. */
  const thrown = new Set(
    code
      .flatMap((text) => [...text.matchAll(/(?:new Problem\(\s*|\bcode: )'([a-z-]+)'/g)])
      .map(([, found = '']) => found),
  );

  it('lists every problem code with its status, and no other', () => {
    const coded = new Map(Object.entries(PROBLEM_CODES).map(([name, { status }]) => [name, status as number]));
    expect([...documented].sort()).to.deep.equal([...coded].sort());
  });

  it('lists no code that nothing throws', () => {
    const unused = Object.keys(PROBLEM_CODES).filter((name) => !thrown.has(name) && !AWAITED.includes(name));
    expect(unused).to.deep.equal([]);
  });

  it('awaits no code that is thrown already', () => {
    expect(AWAITED.filter((name) => thrown.has(name))).to.deep.equal([]);
  });
});
