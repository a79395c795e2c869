import { expect } from 'chai';

import { parseCommand, UsageError, type ProxyCommand, type Surroundings } from '../../../agent/config.js';
import { parseSecret } from '../../../agent/proxies/proxy-files.js';

const FILES: Readonly<Record<string, string>> = { secret: 'agent:open:sesame\n', torn: 'agent', 'token-file': 't' };

const around: Surroundings = {
  env: {},
  hostname: 'web1',
  readFile: (path) => FILES[path] ?? failToRead(path),
  warn: () => undefined,
};

function failToRead(path: string): never {
  throw new Error(`no ${path}`);
}

function read(...argv: string[]): { command: ProxyCommand | undefined; faults: readonly string[] } {
  try {
    return { command: parseCommand(argv, around) as ProxyCommand, faults: [] };
  } catch (error) {
    if (error instanceof UsageError) return { command: undefined, faults: error.faults };
    throw error;
  }
}

describe('proxies on the command line', () => {
  it('are a list, with a secret from a file, and a rule on the direct way', () => {
    const { command } = read(
      'proxy',
      'set',
      'http://a:3128,https://b',
      '--credential',
      'corp',
      '--secret-file',
      'secret',
      '--no-direct',
    );
    expect(command?.given).to.deep.equal({
      proxies: [
        { url: 'http://a:3128', credential: 'corp' },
        { url: 'https://b', credential: 'corp' },
      ],
      direct: false,
      secret: { name: 'corp', value: { username: 'agent', password: 'open:sesame' } },
    });
    expect(command).to.include({ action: 'set', force: false, json: false });
    expect(read('proxy', 'set', 'http://a').command?.given).to.deep.include({ direct: true, secret: undefined });
  });

  it('may stand after the flags', () => {
    const { command, faults } = read('proxy', 'set', '--dir', 'a1', '--no-direct', 'http://a:3128');
    expect(faults).to.deep.equal([]);
    expect(command).to.include({ action: 'set' });
    expect(command?.directory.path).to.match(/a1$/);
    expect(command?.given).to.deep.include({ proxies: [{ url: 'http://a:3128' }], direct: false });
    expect(read('proxy', '--json', 'list').command).to.include({ action: 'list', json: true });
    const twice = read('proxy', 'set', 'http://a', '--force', 'http://u:p@b');
    expect(twice.faults).to.deep.equal(['unexpected argument "…@b"']);
  });

  const bad: [string, string[], number][] = [
    ['nothing', ['proxy'], 1],
    ['another word', ['proxy', 'get'], 1],
    ['a second list', ['proxy', 'set', 'http://a', 'http://b'], 1],
    ['a list to clear', ['proxy', 'clear', 'http://a'], 1],
    ['an empty list', ['proxy', 'set', ''], 1],
    ['a scheme that is none', ['proxy', 'set', 'socks5://a:1,http://b'], 1],
    ['a proxy named twice', ['proxy', 'set', 'http://a,http://a'], 1],
    ['a secret without a name', ['proxy', 'set', 'http://a', '--secret-file', 'secret'], 1],
    ['a name that is none', ['proxy', 'set', 'http://a', '--credential', '../x'], 2],
    ['a file that is not there', ['proxy', 'set', 'http://a', '--credential', 'c', '--secret-file', 'x'], 1],
    ['a rule on the direct way that nothing is set by', ['proxy', 'clear', '--no-direct'], 1],
    ['flags of another action', ['proxy', 'list', '--force', '--credential', 'c'], 2],
    ['an answer that is no list', ['proxy', 'set', 'http://a', '--json'], 1],
    ['a file without a password', ['proxy', 'set', 'http://a', '--credential', 'c', '--secret-file', 'torn'], 1],
  ];
  for (const [name, argv, count] of bad)
    it(`are refused with ${count} faults for ${name}`, () => {
      expect(read(...argv).faults).to.have.length(count);
    });

  for (const flags of [['--no-direct'], ['--credential', 'c'], ['--credential', 'c', '--secret-file', 'secret']])
    it(`are refused at an enrollment with ${flags.join(' ')} and no proxy`, () => {
      const enroll = ['enroll', '--manager', 'https://m:1', '--token-file', 'token-file'];
      expect(read(...enroll, ...flags).faults).to.deep.equal([
        '--credential, --secret-file and --no-direct go with --proxy',
      ]);
      expect(read(...enroll, '--proxy', 'http://a', ...flags).faults).to.deep.equal([]);
    });

  const leaky = [
    'http://agent:hunter2@proxy:1',
    'http://agent:hunter2,x@proxy:1',
    'http://agent:hunter2/x@proxy:1',
    'http://a,http://hunter2@proxy',
    'agent:hunter2@proxy',
  ];
  for (const list of leaky)
    it(`are refused as ${list}, and nothing of it is said again`, () => {
      const enroll = ['enroll', '--manager', 'https://m:1', '--token-file', 'token-file', '--proxy', list];
      for (const argv of [
        ['proxy', 'set', list],
        enroll,
        ['proxy', 'set', 'http://a', list],
        ['proxy', 'clear', list],
      ]) {
        const { faults } = read(...argv);
        expect(faults).to.have.length(1);
        expect(faults.join()).to.not.contain('hunter2');
      }
    });
});

describe('the file of a secret', () => {
  const rows: [string, string | undefined][] = [
    ['agent:pass', 'agent|pass'],
    ['agent:pass\r\n', 'agent|pass'],
    ['agent:a:b c', 'agent|a:b c'],
    ['agent:', 'agent|'],
    [':pass', undefined],
    ['agent', undefined],
    ['agent:pass\nmore', undefined],
    ['agent:\u0007', undefined],
    ['agent:pass\r\nX-Header: 1', undefined],
  ];
  for (const [text, expected] of rows)
    it(`reads ${JSON.stringify(text)} as ${expected ?? 'none'}`, () => {
      const secret = parseSecret(text);
      expect(secret && `${secret.username}|${secret.password}`).to.equal(expected);
    });
});
