import { expect } from 'chai';
import { readdirSync, readFileSync } from 'node:fs';

const foldersOf = (path: string): string[] =>
  readdirSync(path, { withFileTypes: true }).flatMap((entry) => (entry.isDirectory() ? [entry.name] : []));

describe('the diagram of docs/architecture.md', () => {
  const [, diagram = ''] = /```mermaid\n(.*?)```/s.exec(readFileSync('docs/architecture.md', 'utf8')) ?? [];
  const named = new Set(diagram.match(/[a-z][a-z-]+/g));

  it('names every folder of the manager', () => {
    expect(foldersOf('server').filter((folder) => !named.has(folder))).to.deep.equal([]);
  });

  it('names every other part of the program', () => {
    const parts = ['lib', 'policies', 'protocol', 'certs', 'server', 'agent'];
    expect(foldersOf('.')).to.include.members(parts);
    expect(parts.filter((part) => !named.has(part))).to.deep.equal([]);
  });
});
