import { createHash } from 'node:crypto';
import type { JsonValue } from '../../lib/canonical-json.js';
import type { Clock } from '../../lib/clock.js';
import type { Random } from '../../lib/random.js';
import { AGENT_PATHS, PROTOCOL_VERSION } from '../../protocol/protocol-version.js';
import { MAX_UPLOAD_BYTES, UPLOAD_PART_BYTES, type UploadPart } from '../../protocol/upload-messages.js';
import { retryDelayMs } from '../beat-rules.js';
import type { ManagerConnection } from '../transport/tls-connection.js';
import { ManagerRefusal } from '../transport/transport-error.js';
import { CommandFailure, type CommandContext, type CommandUpload } from './executor.js';

export interface UploadsDeps {
  readonly clock: Clock;
  readonly random: Random;
  /** Whether this agent opens connections to its manager. */
  readonly mayDial: () => boolean;
  /** Opens a connection that takes `AGENT_PATHS.upload`. */
  readonly connect: (milliseconds: number, signal: AbortSignal) => Promise<ManagerConnection>;
}

const CONNECT_MS = 10_000;
/** No pause between two tries is longer. */
const RETRY_CAP_SECONDS = 60;
/** Of the refusals below 500: the manager had no time for it. */
const PASSING: readonly number[] = [408, 429];

/** A file that is not all with the manager yet. */
interface Waiting {
  readonly parts: UploadPart[];
  readonly settle: (failure?: Error) => void;
}

/** Files on their way to the manager: over connections of their own, or over those that the manager opens. */
export class Uploads {
  readonly #deps: UploadsDeps;
  readonly #waiting = new Set<Waiting>();

  constructor(deps: UploadsDeps) {
    this.#deps = deps;
  }

  /** Sends a file until the manager has it or the command's time is over; answers what the result says of it. */
  async send(file: CommandUpload, { commandId, signal }: CommandContext): Promise<JsonValue> {
    const parts = partsOf(commandId, file);
    const [first] = parts;
    if (!first || first.bytes > MAX_UPLOAD_BYTES)
      throw new CommandFailure('file-too-large', `The file has more than ${MAX_UPLOAD_BYTES} bytes.`);
    if (this.#deps.mayDial()) await this.#dial(parts, signal);
    else await this.#await(parts, signal);
    return { bytes: first.bytes, sha256: first.sha256, contentType: file.contentType };
  }

  /** Sends what waits over a connection that the manager opened. */
  async pump(connection: ManagerConnection, signal: AbortSignal): Promise<void> {
    for (const waiting of this.#waiting) {
      try {
        await sendOver(connection, waiting.parts, signal);
        waiting.settle();
      } catch (error) {
        if (!isFinal(error)) throw error;
        waiting.settle(refused(error));
      }
    }
  }

  async #dial(parts: UploadPart[], signal: AbortSignal): Promise<void> {
    const { clock, random, connect } = this.#deps;
    let failures = 0;
    while (parts.length > 0) {
      const before = parts.length;
      try {
        const connection = await connect(CONNECT_MS, signal);
        await sendOver(connection, parts, signal).finally(() => connection.close());
      } catch (error) {
        signal.throwIfAborted();
        if (isFinal(error)) throw refused(error);
        failures = parts.length < before ? 1 : failures + 1;
        const retryAfterMs = error instanceof ManagerRefusal ? error.facts.retryAfterMs : undefined;
        const pause = { failures, intervalSeconds: RETRY_CAP_SECONDS, retryAfterMs, reaction: 'repeat' } as const;
        await clock.sleep(retryDelayMs(pause, random), signal);
      }
    }
  }

  #await(parts: UploadPart[], signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const settle = (failure?: Error): void => {
        signal.removeEventListener('abort', abort);
        this.#waiting.delete(waiting);
        if (failure) reject(failure);
        else resolve();
      };
      const abort = (): void => settle(signal.reason as Error);
      const waiting: Waiting = { parts, settle };
      this.#waiting.add(waiting);
      if (signal.aborted) return abort();
      signal.addEventListener('abort', abort, { once: true });
    });
  }
}

/** The parts of a file, in order. */
export function partsOf(commandId: string, { contentType, text }: CommandUpload): UploadPart[] {
  const bytes = Buffer.from(text);
  const parts = Math.max(1, Math.ceil(bytes.length / UPLOAD_PART_BYTES));
  const sha256 = createHash('sha256').update(bytes).digest('hex');
  return Array.from({ length: parts }, (_, part) => ({
    protocolVersion: PROTOCOL_VERSION,
    commandId,
    contentType,
    bytes: bytes.length,
    sha256,
    parts,
    part,
    data: bytes.subarray(part * UPLOAD_PART_BYTES, (part + 1) * UPLOAD_PART_BYTES).toString('base64'),
  }));
}

/** Each part is forgotten once the manager has it; one that comes again does no harm. */
async function sendOver(connection: ManagerConnection, parts: UploadPart[], signal: AbortSignal): Promise<void> {
  for (let part = parts[0]; part; part = parts[0]) {
    await connection.post(AGENT_PATHS.upload, JSON.stringify(part), signal);
    parts.shift();
  }
}

function isFinal(error: unknown): error is ManagerRefusal {
  return error instanceof ManagerRefusal && error.status < 500 && !PASSING.includes(error.status);
}

function refused({ code, message }: ManagerRefusal): CommandFailure {
  return new CommandFailure('upload-refused', `${code}: ${message}`);
}
