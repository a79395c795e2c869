import { array, integer, nullable, object, optional, string, uuid, type TypeOf } from '../lib/schema.js';
import { settingsOrderSchema } from './heartbeat-messages.js';

/** `POST /agent/v1/enroll`, agent to manager. Only the public key is taken from the signing request (PEM, PKCS#10). */
export const enrollRequestSchema = object({
  protocolVersion: integer(1, 1000),
  token: string({ min: 1, max: 512 }),
  csr: string({ min: 1, max: 16_384 }),
  /** The name asked for; the host name where the operator gave none. */
  name: string({ min: 1, max: 253 }),
  agentVersion: string({ min: 1, max: 64 }),
  platform: string({ min: 1, max: 128 }),
  machineId: optional(string({ max: 128 })),
});
export type EnrollRequest = TypeOf<typeof enrollRequestSchema>;

/** The answer: identity, certificate and where to go on. Certificates are PEM; instants Unix milliseconds. */
export const enrollResponseSchema = object({
  protocolVersion: integer(1, 1000),
  computerId: uuid,
  name: string({ max: 253 }),
  policy: object({ id: uuid, name: string({ max: 1000 }) }),
  certificate: string({ max: 65_536 }),
  /** Issuing intermediate, then root. */
  chain: array(string({ max: 65_536 }), 8),
  trustDomain: string({ max: 255 }),
  /** Addresses of managers in order of preference; empty: the one that answered. */
  managerUrls: array(string({ max: 2048 }), 16),
  managerTime: integer(0, Number.MAX_SAFE_INTEGER),
  identityToken: nullable(string({ max: 256 })),
  /** The settings in force for the computer, so that an agent that must not dial never does. */
  settings: optional(settingsOrderSchema),
});
export type EnrollResponse = TypeOf<typeof enrollResponseSchema>;
