import { expect } from 'chai';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

const FOLDER = 'test/faults';
const PAGE = join(FOLDER, 'README.md');
const SUFFIX = '.test.ts';
const DRILL_ROW = /^\| `([a-z-]+)` \|/gm;
const SIZE_ROW = /^\| `(WARDBEAT_TEST_[A-Z_]+)` \|/gm;
const SIZE_READ = /process\.env\['(WARDBEAT_TEST_[A-Z_]+)'\]/g;

const drills = readdirSync(FOLDER).filter((name) => name.endsWith(SUFFIX));
const named = (text: string, pattern: RegExp): string[] => [...text.matchAll(pattern)].map(([, name = '']) => name);

describe('the page of the drills', () => {
  const page = readFileSync(PAGE, 'utf8');

  it('has one row for each drill, in their order', () => {
    expect(named(page, DRILL_ROW)).to.deep.equal(drills.map((name) => name.slice(0, -SUFFIX.length)).sort());
  });

  it('names every size that a drill takes from the environment, and no other', () => {
    const read = drills.flatMap((name) => named(readFileSync(join(FOLDER, name), 'utf8'), SIZE_READ));
    expect(named(page, SIZE_ROW).sort()).to.deep.equal([...new Set(read)].sort());
  });
});
