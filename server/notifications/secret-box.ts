import type { Random } from '../../lib/random.js';
import { createSealedBox, type SealedBox } from '../../lib/sealed-box.js';
import { DeliveryFailure } from './delivery-failure.js';

/** Seals the secrets of channels. `open` throws `DeliveryFailure` `secrets-unreadable`. */
export type SecretBox = SealedBox;

/** `key` has 32 bytes. */
export function createSecretBox(key: Buffer, random: Pick<Random, 'bytes'>): SecretBox {
  const box = createSealedBox(key, random);
  return {
    seal: box.seal,
    open(label, sealed) {
      try {
        return box.open(label, sealed);
      } catch {
        throw new DeliveryFailure('secrets-unreadable', UNREADABLE);
      }
    },
  };
}

const UNREADABLE =
  "the channel's secrets were sealed with another key: restore keys/notification-secret, or set them anew";
