import { readFileSync } from 'node:fs';
import { expect } from 'chai';

const AGENT_FILES = ['csr', 'pem', 'verify-path', 'certificate-profile', 'tls-profile'];
const IMPORT = /^(?:import|export) [^;]*?from '([^']+)';/gms;

/** The modules that a compiled module loads, itself and the transitive ones included. */
function loadedBy(url: URL, seen = new Set<string>()): Set<string> {
  if (seen.has(url.href)) return seen;
  seen.add(url.href);
  for (const [, specifier = ''] of readFileSync(url, 'utf8').matchAll(IMPORT))
    if (specifier.startsWith('.')) loadedBy(new URL(specifier, url), seen);
    else seen.add(specifier);
  return seen;
}

describe('what an agent imports from certs', () => {
  for (const name of AGENT_FILES)
    it(`loads neither node-forge nor the authority with ${name}`, () => {
      const modules = [...loadedBy(new URL(`../../../certs/${name}.js`, import.meta.url))];
      expect(modules.filter((module) => /node-forge|authority|key-store|encoder|identity/.test(module))).to.deep.equal(
        [],
      );
    });

  it('would be caught if it loaded node-forge', () => {
    const modules = loadedBy(new URL('../../../certs/certificate-authority.js', import.meta.url));
    expect(modules.has('node-forge')).to.equal(true);
  });
});
