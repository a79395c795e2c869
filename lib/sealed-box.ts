import { createCipheriv, createDecipheriv } from 'node:crypto';
import type { Random } from './random.js';

const CIPHER = 'aes-256-gcm';
const NONCE_BYTES = 12;
const TAG_BYTES = 16;

/** Seals what a store may hold and must not be able to read. */
export interface SealedBox {
  /** `label` binds the sealed bytes to their place: they open with the same one only. */
  seal(label: string, value: object): Buffer;
  /** Throws for what was sealed with another key, for another place, or changed. */
  open(label: string, sealed: Buffer): unknown;
}

/** AES-256-GCM (NIST SP 800-38D) with a random nonce: nonce, ciphertext, tag. `key` has 32 bytes. */
export function createSealedBox(key: Buffer, random: Pick<Random, 'bytes'>): SealedBox {
  return {
    seal(label, value) {
      const nonce = random.bytes(NONCE_BYTES);
      const cipher = createCipheriv(CIPHER, key, nonce).setAAD(Buffer.from(label));
      const sealed = Buffer.concat([cipher.update(JSON.stringify(value), 'utf8'), cipher.final()]);
      return Buffer.concat([nonce, sealed, cipher.getAuthTag()]);
    },
    open(label, sealed) {
      const decipher = createDecipheriv(CIPHER, key, sealed.subarray(0, NONCE_BYTES), { authTagLength: TAG_BYTES });
      decipher.setAAD(Buffer.from(label)).setAuthTag(sealed.subarray(-TAG_BYTES));
      const plain = decipher.update(sealed.subarray(NONCE_BYTES, -TAG_BYTES));
      return JSON.parse(Buffer.concat([plain, decipher.final()]).toString('utf8')) as unknown;
    },
  };
}
