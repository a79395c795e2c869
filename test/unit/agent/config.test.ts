import { expect } from 'chai';

import { parseCommand, UsageError, type EnrollCommand, type Surroundings } from '../../../agent/config.js';
import { parseManagerUrl } from '../../../agent/transport/tls-connection.js';

function surroundings(env: Record<string, string> = {}): Surroundings & { warnings: string[] } {
  const warnings: string[] = [];
  return {
    env,
    hostname: 'web1',
    readFile: (path) => (path === 'token-file' || path === '-' ? ' from-file\n' : failToRead(path)),
    warn: (text) => void warnings.push(text),
    warnings,
  };
}

function failToRead(path: string): never {
  throw new Error(`no ${path}`);
}

function faultsOf(argv: readonly string[], env: Record<string, string> = {}): readonly string[] {
  try {
    parseCommand(argv, surroundings(env));
  } catch (error) {
    if (error instanceof UsageError) return error.faults;
    throw error;
  }
  return [];
}

const ENROLL = ['enroll', '--manager', 'https://manager:4120'];

const EMIT = ['emit', '--kind', 'log', '--severity', 'info', '--message', 'm'];

describe('the command line of the agent', () => {
  const rows: readonly [string, readonly string[], number][] = [
    ['no command', [], 1],
    ['unknown command', ['dance'], 1],
    ['a release without its code', ['release'], 1],
    ['a release with its code', ['release', '--code', 'ABCDE-FGHJK-MNPQR-STVWX'], 0],
    ['a release with a code that is none', ['release', '--code', 'x'.repeat(65)], 1],
    ['a proxy set without a list', ['proxy', 'set'], 1],
    ['a prototype name', ['constructor'], 1],
    ['enroll without anything', ['enroll'], 2],
    ['a plain http manager', ['enroll', '--manager', 'http://x:1', '--token-file', 'token-file'], 1],
    ['two tokens', [...ENROLL, '--token', 'a', '--token-file', 'token-file'], 1],
    ['an unreadable token file', [...ENROLL, '--token-file', 'absent'], 1],
    ['unknown, valueless and positional at once', ['run', '--colour', '--dir', '--no-clock-detection=1', 'now'], 3],
    ['a port that is none', ['run', '--listener-port', '0'], 1],
    ['a port with a sign', ['run', '--listener-port', '+5'], 1],
    ['emit without anything', ['emit'], 3],
    [
      'emit with bad values',
      ['emit', '--kind', 'x', '--severity', 'y', '--message', 'm', '--count', '0', '--data', '{'],
      4,
    ],
    ['too many events', ['emit', '--kind', 'log', '--severity', 'info', '--message', 'm', '--count', '100001'], 1],
    ['a good emit', ['emit', '--kind', 'log', '--severity', 'info', '--message', 'm', '--count', '100000'], 0],
    ['a number of events in another way than digits', [...EMIT, '--count', '1e3'], 1],
    ['a number of events that is blank', [...EMIT, '--count', ' '], 1],
    ['an empty message', ['emit', '--kind', 'log', '--severity', 'info', '--message', ''], 1],
    ['a number that no double holds', [...EMIT, '--data', '{"a":[1,{"b":1e400}]}'], 1],
    ['a number that is nearly too large', [...EMIT, '--data', '{"a":-1e308}'], 0],
    ['a flag given twice', ['status', '--dir', 'a', '--dir', 'b'], 1],
  ];
  for (const [name, argv, count] of rows)
    it(`finds ${count} faults in ${name}`, () => {
      expect(faultsOf(argv)).to.have.length(count);
    });

  it('takes the token from flag, file, standard input and environment, and warns of the flag only', () => {
    const tokenOf = (argv: readonly string[], env: Record<string, string> = {}) => {
      const around = surroundings(env);
      return { token: (parseCommand(argv, around) as EnrollCommand).token, warned: around.warnings.length };
    };
    expect(tokenOf([...ENROLL, '--token', 't'])).to.deep.equal({ token: 't', warned: 1 });
    expect(tokenOf([...ENROLL, '--token', '-'])).to.deep.equal({ token: 'from-file', warned: 0 });
    expect(tokenOf([...ENROLL, '--token-file', 'token-file'])).to.deep.equal({ token: 'from-file', warned: 0 });
    expect(tokenOf(ENROLL, { WARDBEAT_ENROLLMENT_TOKEN: 'e' })).to.deep.equal({ token: 'e', warned: 0 });
    expect(tokenOf(ENROLL, { WARDBEAT_ENROLLMENT_TOKEN_FILE: 'token-file' }).token).to.equal('from-file');
  });

  it('helps whoever asks after a command, whatever else is wrong with it', () => {
    for (const argv of [
      ['install', '--help'],
      ['emit', '--kind', 'x', '-h'],
      ['proxy', 'set', '--help', '--colour'],
    ])
      expect(parseCommand(argv, surroundings()), argv.join(' ')).to.deep.equal({ command: 'help' });
    expect(faultsOf(['emit', '--kind', 'log', '--severity', 'info', '--message', '--help'])).to.have.length(2);
  });

  it('names the number that no double holds', () => {
    expect(faultsOf([...EMIT, '--data', '{"a":[1,{"b/c":-1e400}]}'])).to.deep.equal([
      '--data /a/1/b~1c must be a number within the range of a double',
    ]);
    expect(faultsOf([...EMIT, '--data', '1e400'])).to.deep.equal([
      '--data must be a number within the range of a double',
    ]);
  });

  it('defaults to agent-data and the host name', () => {
    const command = parseCommand([...ENROLL, '--token-file', 'token-file'], surroundings()) as EnrollCommand;
    expect(command.name).to.equal('web1');
    expect(command.directory.path).to.match(/\/agent-data$/);
  });
});

describe('the URL of a manager', () => {
  const rows: readonly [string, { host: string; port: number } | undefined][] = [
    ['https://manager:4120', { host: 'manager', port: 4120 }],
    ['https://manager', { host: 'manager', port: 4120 }],
    ['https://manager:443', { host: 'manager', port: 443 }],
    ['https://[::1]:9', { host: '::1', port: 9 }],
    ['https://user:pw@manager', undefined],
    ['https://manager/path', undefined],
    ['http://manager', undefined],
    ['manager:4120', undefined],
  ];
  for (const [text, expected] of rows)
    it(`reads ${text}`, () => {
      const address = parseManagerUrl(text);
      expect(address && { host: address.host, port: address.port }).to.deep.equal(expected);
    });
});
