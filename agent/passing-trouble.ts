/** Such as the machine gets over, or somebody mends: a disk that is full, fails or cannot be written, no files left to open. */
const PASSING = new Set(['ENOSPC', 'EDQUOT', 'EROFS', 'EIO', 'EMFILE', 'ENFILE', 'ENOMEM']);

export function isPassingTrouble(error: unknown): boolean {
  return PASSING.has((error as NodeJS.ErrnoException | undefined)?.code ?? '');
}
