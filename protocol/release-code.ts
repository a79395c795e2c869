import { hash } from 'node:crypto';

/** Crockford's alphabet: nothing in it looks like something else of it. */
const ALPHABET = '0123456789ABCDEFGHJKMNPQRSTVWXYZ';
const CHARACTERS = 20;
const GROUP = 5;

/** 100 bits of a secret as `XXXXX-XXXXX-XXXXX-XXXXX`: short enough to be read out over a telephone. */
export function formatReleaseCode(secret: Buffer): string {
  const text = Array.from({ length: CHARACTERS }, (_, index) => ALPHABET[(secret[index] ?? 0) & 31]).join('');
  return text.match(new RegExp(`.{${GROUP}}`, 'g'))?.join('-') ?? text;
}

/** What the agent knows of the code: SHA-256, hex, over it as it is meant, however it is typed. */
export function releaseDigestOf(code: string): string {
  const plain = code.toUpperCase().replaceAll(/[\s-]/g, '').replaceAll('O', '0').replaceAll(/[IL]/g, '1');
  return hash('sha256', plain);
}
