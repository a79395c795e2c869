import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { writeDurably } from '../../lib/durable-file.js';
import type { User } from './user.js';

type Named = Pick<User, 'id' | 'name'>;

/** `password-of-NAME` in the data directory (0600): what `admin reset-password` made, there until the next change of it. */
export interface ResetPasswordFiles {
  /** Answers the file's path. */
  write(user: Named, password: string): string;
  remove(user: Named): void;
}

/** A name that is more than letters, digits and hyphens might be a path, so the id stands for it. */
const PLAIN_NAME = /^[A-Za-z0-9_-]{1,64}$/;

export function createResetPasswordFiles(dataDir: string): ResetPasswordFiles {
  const pathOf = ({ id, name }: Named) => join(dataDir, `password-of-${PLAIN_NAME.test(name) ? name : id}`);
  return {
    write(user, password) {
      mkdirSync(dataDir, { recursive: true, mode: 0o700 });
      writeDurably(pathOf(user), `${password}\n`);
      return pathOf(user);
    },
    remove: (user) => rmSync(pathOf(user), { force: true }),
  };
}
