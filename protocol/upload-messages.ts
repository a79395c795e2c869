import { integer, object, oneOf, sha256Hex, string, uuid, type TypeOf } from '../lib/schema.js';

/** A file that a command brings: text, at most so many bytes, sent in parts of at most `UPLOAD_PART_BYTES`. */
export const MAX_UPLOAD_BYTES = 4 * 1024 * 1024;
export const UPLOAD_PART_BYTES = 192 * 1024;
export const MAX_UPLOAD_PARTS = Math.ceil(MAX_UPLOAD_BYTES / UPLOAD_PART_BYTES);
const LONGEST_PART = Math.ceil(UPLOAD_PART_BYTES / 3) * 4;

export const UPLOAD_CONTENT_TYPES = ['application/json', 'application/x-ndjson'] as const;

/**
 * One part of a command's file, `POST` to `AGENT_PATHS.upload`. Every part names the whole file; parts of another file of
 * the same command replace it. A part may be sent again.
 */
export const uploadPartSchema = object({
  protocolVersion: integer(1, 1000),
  commandId: uuid,
  contentType: oneOf(...UPLOAD_CONTENT_TYPES),
  /** Of the whole file. */
  bytes: integer(1, MAX_UPLOAD_BYTES),
  sha256: sha256Hex,
  parts: integer(1, MAX_UPLOAD_PARTS),
  /** From 0. */
  part: integer(0, MAX_UPLOAD_PARTS - 1),
  /** base64 */
  data: string({
    min: 4,
    max: LONGEST_PART,
    pattern: { source: /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/, says: 'base64' },
  }),
});
export type UploadPart = TypeOf<typeof uploadPartSchema>;

/** A body around the largest part. */
export const MAX_UPLOAD_BODY_BYTES = LONGEST_PART + 4096;
