import { join } from 'node:path';

import { removeDurably, writeDurably } from '../../lib/durable-file.js';
import { array, boolean, integer, object, optional, readBy, string } from '../../lib/schema.js';
import { firewallRule, type FirewallRule } from '../../policies/firewall-rules.js';
import type { FirewallListener } from '../../policies/firewall-set.js';
import type { DataDirectory } from '../data-directory.js';
import { readOwnFile } from '../own-files.js';

const MOST_RULES = 10_000;
const LONGEST_TEXT = 16 * 1024 * 1024;
const MOST_LISTENERS = 10;
const MOST_SOURCES = 10_000;

const listener = object({ port: integer(1, 65_535), sources: array(string({ max: 100 }), MOST_SOURCES) });

const fileSchema = object({
  owner: string({ max: 1000 }),
  loaded: optional(object({ isIsolation: boolean, text: string({ max: LONGEST_TEXT }) })),
  rules: optional(array(firewallRule, MOST_RULES)),
  listeners: optional(array(listener, MOST_LISTENERS)),
});

/** Tables of the agent's that may stand; what is absent is not known of them. */
export interface KeptTables {
  /** What was loaded last, or is about to be. */
  readonly loaded?: { readonly isIsolation: boolean; readonly text: string };
  /** The last rules that the packet filter took. */
  readonly rules?: readonly FirewallRule[];
  /** Whom the ports were open to beside them. */
  readonly listeners?: readonly FirewallListener[];
}

/**
 * `firewall.json`: the agent's tables as they stand, beside the database, which may be lost. They stand again after a boot
 * before there is a network.
 */
export interface TablesFile {
  /** Undefined where none can stand. Of another identity's, or where the file is damaged, nothing is known. */
  read(): KeptTables | undefined;
  /** Undefined takes it away. Throws what the disk reports. */
  write(tables: KeptTables | undefined): void;
}

/** `owner`: of `ownerOf`. */
export function tablesFile({ path: folder }: Pick<DataDirectory, 'path'>, owner: string): TablesFile {
  const path = join(folder, 'firewall.json');
  return {
    read() {
      try {
        const text = readOwnFile(path);
        if (text === undefined) return undefined;
        const { owner: noted, ...tables } = readBy(fileSchema, JSON.parse(text));
        return noted === owner ? tables : {};
      } catch {
        return {};
      }
    },
    write(tables) {
      if (tables) writeDurably(path, `${JSON.stringify({ owner, ...tables })}\n`);
      else removeDurably(path);
    },
  };
}
