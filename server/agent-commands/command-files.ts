import { hash } from 'node:crypto';
import { Problem } from '../../lib/problem.js';
import { MAX_UPLOAD_BYTES, UPLOAD_PART_BYTES, type UploadPart } from '../../protocol/upload-messages.js';
import type { HotTransaction } from '../database/hot-transaction.js';
import type { Sql } from '../database/sql.js';
import type { FleetClock } from '../fleet-clock/fleet-clock.js';

export interface CommandFile {
  readonly contentType: string;
  readonly bytes: number;
  /** Lower-case hex. */
  readonly sha256: string;
  /** All of it is stored. */
  readonly isComplete: boolean;
}

interface FileRow {
  readonly command_id: string;
  readonly content_type: string;
  readonly bytes: number;
  readonly sha256: Buffer;
  readonly parts: number;
  readonly stored: number;
}

export interface UploadDeps {
  readonly inTransaction: HotTransaction;
  readonly clock: Pick<FleetClock, 'fleet'>;
}

/** Types whose results are files. */
const UPLOADING: readonly string[] = ['collect-diagnostics', 'upload-logs'];

/** Takes parts of files from agents: of their own commands only, while these are open. A part may come again. */
export function createUploads({ inTransaction, clock }: UploadDeps) {
  return async (computerId: string, part: UploadPart): Promise<{ readonly stored: number }> => {
    assertPart(part);
    return inTransaction(async (sql) => {
      await assertExpected(sql, computerId, part.commandId);
      await storePart(sql, part, Math.floor(clock.fleet()));
      return { stored: part.part };
    });
  };
}

function assertPart({ part, parts, bytes, data }: UploadPart): void {
  const expected = Math.min(UPLOAD_PART_BYTES, bytes - part * UPLOAD_PART_BYTES);
  const isWhole = parts === Math.ceil(bytes / UPLOAD_PART_BYTES) && part < parts && bytes <= MAX_UPLOAD_BYTES;
  if (isWhole && Buffer.byteLength(data, 'base64') === expected) return;
  const detail = `must be the bytes of part ${part} in parts of ${UPLOAD_PART_BYTES}`;
  throw new Problem('request-invalid', { detail: '1 field was rejected.', errors: [{ pointer: '#/data', detail }] });
}

async function assertExpected(sql: Sql, computerId: string, commandId: string): Promise<void> {
  // The row lock keeps two files of one command apart; an exchange that ends the command waits no longer than a part takes.
  const rows = await sql.query(
    `SELECT commands.id FROM commands
     WHERE commands.id = $1 AND commands.computer_id = $2 AND commands.state IN ('delivered', 'running')
       AND commands.type = ANY($3::text[]) FOR UPDATE`,
    [commandId, computerId, UPLOADING],
  );
  if (rows.length === 0)
    throw new Problem('command-not-found', { detail: 'No open command of this computer brings a file by that id.' });
}

async function storePart(sql: Sql, part: UploadPart, at: number): Promise<void> {
  const sha256 = Buffer.from(part.sha256, 'hex');
  const kept = await sql.query(
    `INSERT INTO command_files (command_id, content_type, bytes, sha256, parts, stored_fleet_ms)
     VALUES ($1, $2, $3, $4, $5, $6)
     ON CONFLICT (command_id) DO UPDATE SET stored_fleet_ms = EXCLUDED.stored_fleet_ms
       WHERE command_files.sha256 = EXCLUDED.sha256 AND command_files.bytes = EXCLUDED.bytes
     RETURNING command_files.command_id`,
    [part.commandId, part.contentType, part.bytes, sha256, part.parts, at],
  );
  if (kept.length === 0) {
    // Another file: the agent ran the command once more.
    await sql.query('DELETE FROM command_file_parts WHERE command_id = $1', [part.commandId]);
    await sql.query(
      `UPDATE command_files SET content_type = $2, bytes = $3, sha256 = $4, parts = $5, stored_fleet_ms = $6
       WHERE command_id = $1`,
      [part.commandId, part.contentType, part.bytes, sha256, part.parts, at],
    );
  }
  await sql.query(
    `INSERT INTO command_file_parts (command_id, part, data) VALUES ($1, $2, $3)
     ON CONFLICT (command_id, part) DO UPDATE SET data = EXCLUDED.data`,
    [part.commandId, part.part, Buffer.from(part.data, 'base64')],
  );
}

/** The files of these commands, by command id. */
export async function findFiles(sql: Sql, commandIds: readonly string[]): Promise<ReadonlyMap<string, CommandFile>> {
  if (commandIds.length === 0) return new Map();
  const rows = await sql.query<FileRow>(
    `SELECT command_files.command_id, command_files.content_type, command_files.bytes, command_files.sha256,
       command_files.parts, (SELECT count(*)::integer FROM command_file_parts
         WHERE command_file_parts.command_id = command_files.command_id) AS stored
     FROM command_files WHERE command_files.command_id = ANY($1::uuid[]) ORDER BY command_files.command_id`,
    [commandIds],
  );
  return new Map(
    rows.map(({ command_id: id, content_type: contentType, bytes, sha256, parts, stored }) => [
      id,
      { contentType, bytes, sha256: sha256.toString('hex'), isComplete: stored === parts },
    ]),
  );
}

/** The whole text of a command's file; throws `command-file-not-found`, also where parts are missing. */
export async function readFile(sql: Sql, commandId: string): Promise<CommandFile & { readonly text: string }> {
  const file = (await findFiles(sql, [commandId])).get(commandId);
  if (!file?.isComplete) throw new Problem('command-file-not-found');
  const rows = await sql.query<{ data: Buffer }>(
    `SELECT command_file_parts.data FROM command_file_parts WHERE command_file_parts.command_id = $1
     ORDER BY command_file_parts.part`,
    [commandId],
  );
  const bytes = Buffer.concat(rows.map(({ data }) => data));
  if (bytes.length !== file.bytes || hash('sha256', bytes) !== file.sha256)
    throw new Problem('command-file-not-found', { detail: 'The file is not what the agent said it would be.' });
  return { ...file, text: bytes.toString('utf8') };
}
