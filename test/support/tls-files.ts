import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { openAuthority } from '../../certs/certificate-authority.js';
import { openManagerIdentity } from '../../certs/manager-identity.js';
import { createSystemClock } from '../../lib/clock.js';
import { createSystemRandom } from '../../lib/random.js';

/** A certificate with its chain and its key, `NAME.crt` and `NAME.key`, of an authority made for it alone. */
export async function makeTlsFiles(
  folder: string,
  name: string,
): Promise<{ readonly cert: string; readonly key: string }> {
  const clock = createSystemClock();
  const dir = join(folder, `authority-${name}`);
  mkdirSync(dir, { mode: 0o700 });
  const authority = await openAuthority({ dir, trustDomain: 'elsewhere', clock, random: createSystemRandom() });
  const made = await openManagerIdentity({
    dir,
    authority,
    node: name,
    hosts: ['wardbeat.example', '127.0.0.1'],
    clock,
  });
  const files = { cert: join(folder, `${name}.crt`), key: join(folder, `${name}.key`) };
  writeFileSync(files.cert, made.certPem + made.chainPem);
  writeFileSync(files.key, made.keyPem, { mode: 0o600 });
  return files;
}
