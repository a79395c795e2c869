import { parseCheckpoint, renderCheckpoint, type Checkpoint } from '../audit/seal-rules.js';
import { verifyAudit, type AuditVerification } from '../audit/verify-audit.js';
import { createPool } from '../database/data-source.js';
import { sqlOfClient } from '../database/sql.js';
import { CommandFailed, complain, EXIT, say, UsageError, type Command } from './command.js';
import { openLocalDatabase, refuseUnreachable, runLocally, type LocalDatabaseOptions } from './local-database.js';

export const AUDIT_VERIFY: Command = {
  name: 'audit verify',
  parameters: '[--checkpoint N:HASH]… [--json]',
  summary:
    'follows the chain of audit seals and names the first bad row, also while the manager runs; 1 when one is bad',
  run,
};

interface Asked {
  readonly checkpoints: readonly Checkpoint[];
  readonly json: boolean;
}

async function run(words: readonly string[]): Promise<number> {
  const asked = parseWords(words);
  const verification = await runLocally((options) => verifyIn(options, asked.checkpoints));
  return asked.json ? tellJson(verification) : tell(verification, asked);
}

function parseWords(words: readonly string[]): Asked {
  const checkpoints: Checkpoint[] = [];
  let json = false;
  const rest = [...words];
  for (let word = rest.shift(); word !== undefined; word = rest.shift()) {
    if (word === '--json') json = true;
    else if (word === '--checkpoint') checkpoints.push(toCheckpoint(rest.shift()));
    else if (word.startsWith('--checkpoint=')) checkpoints.push(toCheckpoint(word.slice('--checkpoint='.length)));
    else throw new UsageError(`audit verify does not take ${word}`);
  }
  return { checkpoints, json };
}

function toCheckpoint(text = ''): Checkpoint {
  const checkpoint = parseCheckpoint(text);
  if (!checkpoint)
    throw new UsageError('--checkpoint takes N:HASH, as "audit checkpoint" in the log of the manager says');
  return checkpoint;
}

async function verifyIn(options: LocalDatabaseOptions, checkpoints: readonly Checkpoint[]): Promise<AuditVerification> {
  const connection = await openLocalDatabase(options);
  const { log } = options.edges;
  const pool = createPool({ connection, applicationName: 'wardbeat-command', poolSize: 1, statementTimeoutMs: 0, log });
  options.cleanup.push('connection', () => pool.end());
  const sql = sqlOfClient(pool);
  const [found] = await sql
    .query<{ there: boolean }>(
      `SELECT EXISTS (SELECT FROM information_schema.columns
         WHERE table_name = 'audit_seals' AND column_name = 'row_hash') AS there`,
    )
    .catch(refuseUnreachable);
  if (!found?.there) throw new CommandFailed('The database has no audit seals of this version yet: start it once.');
  return verifyAudit(sql, { checkpoints, now: options.edges.clock.wall() });
}

function tellJson({ checkpoint, ...verification }: AuditVerification): number {
  say(JSON.stringify({ ...verification, checkpoint: checkpoint && renderCheckpoint(checkpoint) }));
  return verification.fault ? EXIT.failed : EXIT.ok;
}

function tell(verification: AuditVerification, { checkpoints }: Asked): number {
  const { fault, verified, waiting, checkpoint } = verification;
  for (const line of warningLines(verification)) complain(line, EXIT.ok);
  if (fault) return complain(`The audit log is not what was sealed (${fault.kind}). ${fault.detail}`, EXIT.failed);
  const lines = [
    `The audit log is sound: ${verified} rows are as they were sealed, ${waiting ?? 0} wait for their seal.`,
    ...(checkpoint ? [`Checkpoint to keep apart: ${renderCheckpoint(checkpoint)}`] : []),
    ...(checkpoints.length === 0 ? ['Without --checkpoint a cut-off end of the log cannot be seen.'] : []),
  ];
  return say(lines.join('\n'));
}

function warningLines({ warnings, warningCount }: AuditVerification): string[] {
  const lines = warnings.map(({ kind, detail }) => `Look at this (${kind}): ${detail}`);
  return warningCount > warnings.length ? [...lines, `… and ${warningCount - warnings.length} more.`] : lines;
}
