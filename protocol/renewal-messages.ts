import { array, integer, object, optional, string, uuid, type TypeOf } from '../lib/schema.js';

/**
 * In a report: the agent wants a certificate for another key. The request (PEM, PKCS#10) stays the same until it is answered;
 * the same key is always answered with the same certificate.
 */
export const renewalRequestSchema = object({ csr: string({ min: 1, max: 16_384 }) });
export type RenewalRequest = TypeOf<typeof renewalRequestSchema>;

const certificate = string({ min: 1, max: 65_536 });
/** Issuing intermediate, then root. */
const chain = array(string({ min: 1, max: 65_536 }), 8);

/** In orders: what was asked for, PEM. The certificate that the report came by counts until this one was used. */
export const renewedSchema = object({ certificate, chain });
export type Renewed = TypeOf<typeof renewedSchema>;

/** In orders: why nothing is issued. A request that is left unanswered comes again with the next report. */
export const renewalRefusalSchema = object({ code: string({ max: 64 }), detail: string({ max: 1024 }) });
export type RenewalRefusal = TypeOf<typeof renewalRefusalSchema>;

/** `POST /agent/v1/renew`, over a connection that shows the expired certificate; the request is made with its key. */
export const renewRequestSchema = object({ protocolVersion: integer(1, 1000), csr: string({ min: 1, max: 16_384 }) });
export type RenewRequest = TypeOf<typeof renewRequestSchema>;

export const renewResponseSchema = object({
  protocolVersion: integer(1, 1000),
  computerId: uuid,
  certificate,
  chain,
  managerTime: integer(0, Number.MAX_SAFE_INTEGER),
});
export type RenewResponse = TypeOf<typeof renewResponseSchema>;

/**
 * The same where the manager dials (`LISTENER_PATHS.renewal`): its first call is answered with a request, the second brings
 * the certificate and is answered 204.
 */
export const listenerRenewalCallSchema = object({
  protocolVersion: integer(1, 1000),
  computerId: uuid,
  renewed: optional(renewedSchema),
});
export type ListenerRenewalCall = TypeOf<typeof listenerRenewalCallSchema>;
