import type { JsonValue } from '../../lib/canonical-json.js';
import type { UploadPart } from '../../protocol/upload-messages.js';

/** A command of which the agent can tell why it came to nothing: `reason` is a code of docs/operations.md. */
export class CommandFailure extends Error {
  constructor(
    readonly reason: string,
    detail: string,
  ) {
    super(detail);
  }
}

export function notSupported(detail: string): CommandFailure {
  return new CommandFailure('not-supported', detail);
}

/** A file on its way to the manager. */
export interface CommandUpload {
  readonly contentType: UploadPart['contentType'];
  readonly text: string;
}

export interface CommandContext {
  readonly commandId: string;
  /** Of an order to isolate: of the code that ends it at the computer. */
  readonly releaseDigest?: string | undefined;
  /** Aborted when its time is over or the agent ends. */
  readonly signal: AbortSignal;
}

/** Checked by protocol/command-types.ts. */
export type CommandArgs = Readonly<Record<string, unknown>>;

/** Does what one type of command asks for; answers its result, throws `CommandFailure` or anything else. */
export interface Executor {
  execute(args: CommandArgs, context: CommandContext): Promise<JsonValue>;
  /**
   * The restart of the agent was its very effect: what it came to, asked in a process that found it running. Others were
   * interrupted, or are run once more.
   */
  readonly afterRestart?: () => JsonValue;
}

/** By type. Parts of the agent that come with commands of their own add theirs in agent/compose.ts. */
export type ExecutorTable = Readonly<Record<string, Executor>>;
