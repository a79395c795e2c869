import { integer, json, object, optional, string, uuid, type TypeOf } from '../lib/schema.js';
import { MAX_UPLOAD_PARTS, uploadPartSchema } from './upload-messages.js';
import { ordersSchema } from './heartbeat-messages.js';

/**
 * What a manager posts to the agent's listener (`LISTENER_PATHS.heartbeat`): the exchange inverted, over one connection.
 * The first call of a connection carries nothing but the version and the computer that is meant; the agent answers 200
 * with a report, byte for byte what it would have posted. Each further call answers that report, by `orders` or by the
 * `problem` (RFC 9457) that a post would have been refused with, and is answered with the next report, or with 204 when
 * nothing is left to say. Beside reports an agent may answer with a part of a file (`listenerUploadSchema`), which the next
 * call answers by `uploaded` or a problem. An agent whose exchange is in flight elsewhere answers 409 `exchange-in-progress`.
 */
export const listenerCallSchema = object({
  protocolVersion: integer(1, 1000),
  computerId: uuid,
  orders: optional(ordersSchema),
  /** The part that the agent answered with is stored. */
  uploaded: optional(object({ part: integer(0, MAX_UPLOAD_PARTS) })),
  problem: optional(
    object({
      type: string({ max: 256 }),
      status: integer(400, 599),
      detail: optional(string({ max: 4096 })),
      errors: optional(json(65_536)),
      retryAfterSeconds: optional(integer(0, 86_400)),
    }),
  ),
});
export type ListenerCall = TypeOf<typeof listenerCallSchema>;

/** A call carries new settings at most. */
export const MAX_LISTENER_CALL_BYTES = 2 * 1024 * 1024;

/** A part of a file, instead of a report: what `AGENT_PATHS.upload` takes, for agents that open no connections. */
export const listenerUploadSchema = object({ protocolVersion: integer(1, 1000), upload: uploadPartSchema });
