import { randomBytes, randomUUID } from 'node:crypto';

/** The only source of chance; passed in so that tests and the simulator decide it. */
export interface Random {
  /** A number from 0 up to, not including, 1. */
  fraction(): number;
  bytes(length: number): Buffer;
  /** A version 4 UUID, lower case. */
  uuid(): string;
}

const FRACTION_BITS = 48;

export function createSystemRandom(): Random {
  return {
    fraction: () => randomBytes(6).readUIntBE(0, 6) / 2 ** FRACTION_BITS,
    bytes: (length) => randomBytes(length),
    uuid: () => randomUUID(),
  };
}
