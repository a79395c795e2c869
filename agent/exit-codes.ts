import { PROBLEM_CODES, type ProblemKind } from '../lib/problem-codes.js';
import { NotEnrolled } from './data-directory.js';
import { AlreadyEnrolled } from './enroll-directory.js';
import { EnrollmentInputInvalid } from './enroll.js';
import { LocalRefusal } from './local-socket/socket-client.js';
import { StoreInUse } from './spool/durable-store.js';
import { isPassingTrouble } from './passing-trouble.js';
import { ManagerRefusal, TransportError } from './transport/transport-error.js';
import { UnusableFile } from './unusable-file.js';

/** Exit codes (contract). */
export const EXIT = { ok: 0, notInContact: 1, usage: 2, notEnrolled: 3, refused: 4, inUse: 5 } as const;
export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

export interface Explaining {
  /** Of the program. */
  readonly name: string;
  readonly complain: (text: string) => void;
}

/** Tells in plain lines why a command failed; answers its exit code. */
export function explainFailure(error: unknown, { name, complain }: Explaining): ExitCode {
  const text = error instanceof Error ? error.message : String(error);
  const hasCode = error instanceof ManagerRefusal || error instanceof TransportError || error instanceof LocalRefusal;
  complain(`${hasCode ? error.code : name}: ${text}${isOfSystem(error) ? SYSTEM_REMEDY : ''}`);
  if (error instanceof LocalRefusal) for (const fault of error.errors) complain(`${name}: ${fault}`);
  return exitCodeOf(error);
}

const SYSTEM_REMEDY = '; look at who may write there, and at the free space';

function exitCodeOf(error: unknown): ExitCode {
  if (error instanceof ManagerRefusal) return exitOfRefusal(error.status);
  if (error instanceof TransportError) return error.code.startsWith('tls-') ? EXIT.refused : EXIT.notInContact;
  if (error instanceof LocalRefusal) return exitOfLocalRefusal(error);
  // A supervisor tries again.
  if (isPassingTrouble(error)) return EXIT.notInContact;
  if (isOfSystem(error)) return EXIT.usage;
  return KNOWN_ERRORS.find(({ type }) => error instanceof type)?.exit ?? EXIT.notInContact;
}

/** What may do later is no refusal. */
function exitOfRefusal(status: number): ExitCode {
  return status >= 500 ? EXIT.notInContact : EXIT.refused;
}

function exitOfLocalRefusal({ code }: LocalRefusal): ExitCode {
  if (code === 'request-invalid') return EXIT.usage;
  const kinds: Readonly<Record<string, ProblemKind>> = PROBLEM_CODES;
  return exitOfRefusal(kinds[code]?.status ?? 500);
}

/** Of a path that the operating system refused. */
function isOfSystem(error: unknown): boolean {
  return error instanceof Error && 'syscall' in error;
}

const KNOWN_ERRORS: readonly { readonly type: new (...args: never[]) => Error; readonly exit: ExitCode }[] = [
  { type: NotEnrolled, exit: EXIT.notEnrolled },
  { type: StoreInUse, exit: EXIT.inUse },
  { type: EnrollmentInputInvalid, exit: EXIT.usage },
  { type: AlreadyEnrolled, exit: EXIT.usage },
  { type: UnusableFile, exit: EXIT.usage },
];
