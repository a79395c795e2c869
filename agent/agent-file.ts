import { join } from 'node:path';

import { integer, isPlainObject, object, optional, type TypeOf } from '../lib/schema.js';
import type { FieldError } from '../lib/problem.js';
import type { DataDirectory } from './data-directory.js';
import { readOwnFile } from './own-files.js';
import { UnusableFile } from './unusable-file.js';

const members = { metricsPort: optional(integer(1, 65_535)) };
const agentFileSchema = object(members);

/** What an operator sets for the agent of this computer alone, in `agent.json` of its data directory. */
export type AgentFile = TypeOf<typeof agentFileSchema>;

const REMEDY = `mend it: a JSON object with any of ${Object.keys(members).join(', ')}`;

/** Empty where there is no such file. Throws `UnusableFile`: a slip in it is told, not passed over. */
export function readAgentFile({ path: folder }: Pick<DataDirectory, 'path'>): AgentFile {
  const path = join(folder, 'agent.json');
  const text = readOwnFile(path);
  if (text === undefined) return {};
  const value = parse(path, text);
  const unknown = Object.keys(value).filter((key) => !Object.hasOwn(members, key));
  if (unknown.length > 0) throw new UnusableFile(path, `has the unknown member "${unknown[0]}"`, REMEDY);
  const errors: FieldError[] = [];
  const file = agentFileSchema(value, '#', errors);
  const [first] = errors;
  if (first || !file) throw new UnusableFile(path, first ? `${first.pointer} ${first.detail}` : 'is damaged', REMEDY);
  return file;
}

function parse(path: string, text: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text);
    if (isPlainObject(value)) return value;
  } catch {
    // Told below.
  }
  throw new UnusableFile(path, 'is no JSON object', REMEDY);
}
