import { crc32 } from 'node:zlib';
import type { AgentEvent } from '../../protocol/heartbeat-messages.js';

const CHECKSUM_LENGTH = 8;

/** A record as it lies on the disk: CRC-32 (hex) and JSON. LevelDB verifies no checksum of a block that it reads. */
export function encodeRecord(event: AgentEvent): string {
  const json = JSON.stringify(event);
  return checksumOf(json) + json;
}

/** Undefined where the record is damaged. */
export function decodeRecord(value: string): AgentEvent | undefined {
  // Those of earlier versions have no checksum.
  const json = value.startsWith('{') ? value : value.slice(CHECKSUM_LENGTH);
  if (json !== value && checksumOf(json) !== value.slice(0, CHECKSUM_LENGTH)) return undefined;
  try {
    return JSON.parse(json) as AgentEvent;
  } catch {
    return undefined;
  }
}

function checksumOf(json: string): string {
  return crc32(json).toString(16).padStart(CHECKSUM_LENGTH, '0');
}
