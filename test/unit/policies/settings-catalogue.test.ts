import { expect } from 'chai';
import fc from 'fast-check';
import { createMaintenanceCalendar } from '../../../policies/maintenance-rules.js';
import {
  catalogueDefaults,
  describeCatalogue,
  isAtLeastAsStrict,
  isLockable,
  SETTING_KEYS,
  SETTINGS_CATALOGUE,
  validateSetting,
} from '../../../policies/settings-catalogue.js';
import type { SettingKey, SettingValue } from '../../../policies/setting-values.js';
import { runs } from '../../support/property-runs.js';

const days = fc.constantFrom('*', '*/31', '1-31/30', '29', '30', '31', '30-31', '31,29', '28-31/3');
const months = fc.constantFrom('*', '2', 'feb', '2-3', '*/12', '2,4', 'apr-nov/2', '4-9/5', '2-12/9');
const weekdays = fc.constantFrom('*', '*', 'sun', '*/7');

const listItem = (url: string): readonly unknown[] => [{ url }];

describe('the settings catalogue', () => {
  it('accepts its own defaults and describes every key without its schema', () => {
    for (const key of SETTING_KEYS) expect(validateSetting(key, catalogueDefaults()[key])).to.deep.equal([]);
    const described = describeCatalogue();
    expect(described.map(({ key }) => key)).to.deep.equal(SETTING_KEYS);
    expect(JSON.parse(JSON.stringify(described))).to.deep.equal(described);
    expect(described[0]).to.include({ key: 'heartbeatIntervalSeconds', unit: 'seconds', audience: 'both' });
    expect(described[0]).not.to.have.property('schema');
  });

  it('takes a maintenance window if and only if it ever comes', () => {
    fc.assert(
      fc.property(days, months, weekdays, (day, month, weekday) => {
        const window = { cron: `0 3 ${day} ${month} ${weekday}`, durationMinutes: 60, timeZone: 'UTC' };
        const comes = createMaintenanceCalendar([window]).next(0, 1).length > 0;
        const faults = validateSetting('maintenanceWindows', [window]).map(({ detail }) => detail);
        expect(faults).to.deep.equal(comes ? [] : ['never comes: none of its months has such a day']);
      }),
      runs(100),
    );
  });

  it('has the audiences of the design', () => {
    const of = (audience: string): string[] =>
      SETTING_KEYS.filter((key) => SETTINGS_CATALOGUE[key].audience === audience).toSorted();
    expect(of('manager')).to.deep.equal([
      'certificateExpiryAlertDays',
      'cleanupAfterDays',
      'clockChangeLimitSeconds',
      'clockDriftLimitSeconds',
      'eventRateLimitPerMinute',
      'goodbyeToleranceSeconds',
      'heartbeatGraceSeconds',
      'heartbeatsMissedAllowed',
      'maintenanceWindows',
      'offlineAlertForStoppedVm',
      'settingsPendingContactsAllowed',
    ]);
    expect(of('both')).to.deep.equal([
      'certificateLifetimeDays',
      'communicationDirection',
      'connectionMode',
      'heartbeatIntervalSeconds',
      'listenerPort',
      'pingIntervalSeconds',
      'pongTimeoutSeconds',
      'renewAfterExpiryDays',
    ]);
  });

  for (const key of SETTING_KEYS.filter((name) => SETTINGS_CATALOGUE[name].range)) {
    it(`accepts both bounds of ${key} and names both where it refuses`, () => {
      const { range, unlimited } = SETTINGS_CATALOGUE[key];
      const { min, max } = range!;
      for (const value of [min, max]) expect(validateSetting(key, value)).to.deep.equal([]);
      for (const value of [min - 1, max + 1, min + 0.5, String(min), null, Number.NaN, true, []]) {
        const [error] = validateSetting(key, value);
        expect(error?.pointer).to.equal(`#/${key}`);
        expect(error?.detail).to.include(String(min)).and.to.include(String(max));
      }
      expect(validateSetting(key, 'unlimited').length).to.equal(unlimited ? 0 : 1);
    });
  }

  const accepted: readonly (readonly [SettingKey, unknown])[] = [
    [
      'listenerAllowedSources',
      ['10.0.0.0/8', '0.0.0.0/0', 'fd00::/8', '::1/128', '00:11:22:aa:BB:cc', '00-11-22-33-44-55'],
    ],
    ['managerUrls', ['https://manager.example', 'https://manager.example:4120', 'https://[::1]:4120/']],
    ['proxies', [{ url: 'http://10.0.0.1:3128' }, { url: 'https://proxy.example', credential: 'proxy-1' }]],
    [
      'componentsWatched',
      [
        { name: 'sshd', kind: 'process', match: 'sshd' },
        { name: 'sshd', kind: 'systemdUnit', match: 'ssh.service' },
      ],
    ],
    ['maintenanceWindows', [{ cron: '0 2 * * sun', durationMinutes: 120, timeZone: 'Europe/Berlin' }]],
    ['maintenanceWindows', [{ cron: '0 3 29-31/2 feb *', durationMinutes: 1, timeZone: 'UTC' }]],
    ['maintenanceWindows', [{ cron: '0 3 31 2 sun', durationMinutes: 1, timeZone: 'UTC' }]],
    ['maintenanceWindows', [{ cron: '0 3 31 2,jul *', durationMinutes: 1, timeZone: 'UTC' }]],
    ['maintenanceWindows', [{ cron: '*/15 0-6/2 1,15 jan-mar 1-5', durationMinutes: 1, timeZone: 'UTC' }]],
    ['listenerAllowedSources', ['::ffff:1:2:3/128', '::/0']],
    ['communicationDirection', 'agentInitiated'],
    ['connectionMode', 'perHeartbeat'],
    ['proxyFallbackDirect', false],
  ];
  for (const [key, value] of accepted) {
    it(`accepts ${JSON.stringify(value)} for ${key}`, () => expect(validateSetting(key, value)).to.deep.equal([]));
  }

  const refused: readonly (readonly [SettingKey, unknown, pointer?: string])[] = [
    ...[
      '10.0.0.0',
      '10.0.0.0/33',
      '::1/129',
      '10.0.0.0/8/8',
      '10.0.0.0/08',
      'fe80::1%eth0/64',
      '00:11:22-33:44:55',
      '',
      '::ffff:127.0.0.1/128',
      '0:0:0:0:0:ffff:7f00:1/128',
      '0::ffff:127.0.0.1/128',
      '0:0::FFFF:7f00:0/104',
    ].map((source) => ['listenerAllowedSources', [source], '/0'] as const),
    ...[
      'http://a.example',
      'https://u:p@a.example',
      'https://@a.example',
      'https://a.example/x',
      'https://a.example?',
      'https://a.example#',
      'https:a.example',
      'https://',
      'https://a b',
      'a.example',
      7,
      'https://a.example\\@b',
      'https://a.example:0',
      '\0',
    ].map((url) => ['managerUrls', [url], '/0'] as const),
    ...['socks5://a.example', 'http://u@a.example', 'http://a.example/pac', 'http://a:0', 'https://[::1]:00'].map(
      (url) => ['proxies', listItem(url), '/0/url'] as const,
    ),
    ['proxies', [{ url: 'http://a.example', credentail: 'x' }], '/0/credentail'],
    ['proxies', [{ url: 'http://a.example', credential: 'a b' }], '/0/credential'],
    ['proxies', [{ url: 'http://a.example' }, { url: 'http://a.example' }], '/1'],
    ['proxies', [{}], '/0/url'],
    ['proxies', 'http://a.example'],
    ['proxies', {}],
    ['managerUrls', Array.from({ length: 101 }, (_, index) => `https://m${index}.example`)],
    ['componentsWatched', [{ name: 'x', kind: 'driver', match: 'x' }], '/0/kind'],
    ['componentsWatched', [{ name: '', kind: 'process', match: 'x' }], '/0/name'],
    ['componentsWatched', [{ name: 'a\ud800', kind: 'process', match: 'x' }], '/0/name'],
    ...[
      '0 2 * *',
      '60 2 * * *',
      '0 24 * * *',
      '0 0 0 * *',
      '0 0 * 13 *',
      '0 0 * * 8',
      '0 0 * * */0',
      '0 5-2 * * *',
      '0 2/3 * * *',
      '0 2 * * * *',
      '@daily',
      '0  2 * * *',
      '0 2 * * sun,',
      '0 3 31 2 *',
      '0 3 30-31 feb *',
      '0 3 31 2-6/2,sep *',
    ].map((cron) => ['maintenanceWindows', [{ cron, durationMinutes: 60, timeZone: 'UTC' }], '/0/cron'] as const),
    ...['Mars/Olympus', '', '../etc', 'UTC\n'].map(
      (timeZone) =>
        ['maintenanceWindows', [{ cron: '0 2 * * *', durationMinutes: 60, timeZone }], '/0/timeZone'] as const,
    ),
    ['maintenanceWindows', [{ cron: '0 2 * * *', durationMinutes: 0, timeZone: 'UTC' }], '/0/durationMinutes'],
    ['communicationDirection', 'both'],
    ['communicationDirection', null],
    ['proxyFallbackDirect', 'true'],
  ];
  for (const [key, value, pointer = ''] of refused) {
    it(`refuses ${JSON.stringify(value).slice(0, 90)} for ${key}`, () => {
      const errors = validateSetting(key, value);
      expect(errors.map((error) => error.pointer)).to.deep.equal([`#/${key}${pointer}`]);
    });
  }
});

describe('the order of strictness', () => {
  const table: readonly (readonly [SettingKey, SettingValue, SettingValue, boolean])[] = [
    ['heartbeatIntervalSeconds', 60, 60, true],
    ['heartbeatIntervalSeconds', 59, 60, true],
    ['heartbeatIntervalSeconds', 61, 60, false],
    ['heartbeatsMissedAllowed', 1000, 'unlimited', true],
    ['heartbeatsMissedAllowed', 'unlimited', 1000, false],
    ['heartbeatsMissedAllowed', 'unlimited', 'unlimited', true],
    ['offlineAlertForStoppedVm', true, false, true],
    ['offlineAlertForStoppedVm', false, true, false],
    ['offlineAlertForStoppedVm', false, false, true],
    ['certificateExpiryAlertDays', 8, 7, true],
    ['certificateExpiryAlertDays', 6, 7, false],
    ['connectionMode', 'held', 'held', true],
    ['connectionMode', 'held', 'perHeartbeat', false],
  ];
  for (const [key, value, bound, expected] of table) {
    it(`says that ${key} ${value} is ${expected ? '' : 'not '}as strict as ${bound}`, () =>
      expect(isAtLeastAsStrict(key, value as never, bound)).to.equal(expected));
  }

  it('exists for the keys of the design and no others', () => {
    expect(SETTING_KEYS.filter((key) => !isLockable(key, 'tightenOnly'))).to.deep.equal([
      'communicationDirection',
      'connectionMode',
      'listenerPort',
      'listenerAllowedSources',
      'managerUrls',
      'proxies',
      'proxyFallbackDirect',
      'eventRateLimitPerMinute',
      'spoolMaxMegabytes',
      'componentsWatched',
      'firewallRules',
      'maintenanceWindows',
      'cleanupAfterDays',
    ]);
  });
});
