#!/usr/bin/env node
import 'reflect-metadata';
import { outliveReaders } from '../lib/outlive-readers.js';
import { complain, EXIT, findCommand, renderUsage, say, UsageError, type Command } from './commands/command.js';
import { ADMIN_RESET_PASSWORD } from './commands/admin-reset-password.js';
import { AUDIT_VERIFY } from './commands/audit-verify.js';
import { failureOf } from './commands/failure.js';
import { START } from './commands/start.js';
import { MANAGER_VERSION } from './version.js';

/** One row per command; each is a file of `server/commands/`. */
const COMMANDS: readonly Command[] = [START, ADMIN_RESET_PASSWORD, AUDIT_VERIFY];

async function main(argv: readonly string[]): Promise<number> {
  const [first] = argv;
  if (first === '--version') return say(MANAGER_VERSION);
  if (first === '--help') return say(renderUsage(COMMANDS));
  const call = findCommand(COMMANDS, argv);
  if (!call) return complain(renderUsage(COMMANDS), EXIT.usage);
  return call.command.run(call.words);
}

function explain(error: unknown): number {
  if (error instanceof UsageError) return complain(`${error.message}\n\n${renderUsage(COMMANDS)}`, EXIT.usage);
  const { text, code } = failureOf(error);
  return complain(text, code);
}

outliveReaders();
process.exitCode = await main(process.argv.slice(2)).catch(explain);
