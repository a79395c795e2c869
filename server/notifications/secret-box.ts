import { createCipheriv, createDecipheriv } from 'node:crypto';
import type { Random } from '../../lib/random.js';
import { DeliveryFailure } from './delivery-failure.js';

const CIPHER = 'aes-256-gcm';
const NONCE_BYTES = 12;
const TAG_BYTES = 16;

/** Seals what the database may hold and must not be able to read. */
export interface SecretBox {
  /** `label` binds the sealed bytes to their place: they open with the same one only. */
  seal(label: string, value: object): Buffer;
  /** Throws `DeliveryFailure` `secrets-unreadable` for what was sealed with another key, for another place, or changed. */
  open(label: string, sealed: Buffer): unknown;
}

/** AES-256-GCM (NIST SP 800-38D) with a random nonce: nonce, ciphertext, tag. `key` has 32 bytes. */
export function createSecretBox(key: Buffer, random: Pick<Random, 'bytes'>): SecretBox {
  return {
    seal(label, value) {
      const nonce = random.bytes(NONCE_BYTES);
      const cipher = createCipheriv(CIPHER, key, nonce).setAAD(Buffer.from(label));
      const sealed = Buffer.concat([cipher.update(JSON.stringify(value), 'utf8'), cipher.final()]);
      return Buffer.concat([nonce, sealed, cipher.getAuthTag()]);
    },
    open(label, sealed) {
      try {
        const decipher = createDecipheriv(CIPHER, key, sealed.subarray(0, NONCE_BYTES)).setAAD(Buffer.from(label));
        decipher.setAuthTag(sealed.subarray(-TAG_BYTES));
        const plain = decipher.update(sealed.subarray(NONCE_BYTES, -TAG_BYTES));
        return JSON.parse(Buffer.concat([plain, decipher.final()]).toString('utf8')) as unknown;
      } catch {
        throw new DeliveryFailure('secrets-unreadable', UNREADABLE);
      }
    },
  };
}

const UNREADABLE =
  "the channel's secrets were sealed with another key: restore keys/notification-secret, or set them anew";
