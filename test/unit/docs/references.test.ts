import { expect } from 'chai';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

const PAGES = ['README.md', 'SECURITY.md', 'CONTRIBUTING.md', ...pagesOf('docs')];
const FILE_IN_TREE = /`((?:agent|certs|lib|policies|protocol|scripts|server|test)\/[\w./-]+\.ts)`/g;
const LINK = /\]\((?!https?:)([^)#\s]+)(?:#[^)]*)?\)/g;

function pagesOf(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return pagesOf(path);
    return path.endsWith('.md') ? [path] : [];
  });
}

describe('the documents', () => {
  for (const page of PAGES) {
    it(`${page} names files that are there`, () => {
      const text = readFileSync(page, 'utf8');
      const files = [...text.matchAll(FILE_IN_TREE)].map(([, path = '']) => path);
      const links = [...text.matchAll(LINK)].map(([, path = '']) => join(dirname(page), path));
      expect([...files, ...links].filter((path) => !existsSync(path))).to.deep.equal([]);
    });
  }
});
