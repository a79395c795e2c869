import { createHash } from 'node:crypto';
import { expect } from 'chai';
import { agentSettings, fingerprintOf, settingsDocument } from '../../../policies/fingerprint.js';
import { catalogueDefaults, SETTING_KEYS, SETTINGS_CATALOGUE } from '../../../policies/settings-catalogue.js';

describe('the settings document', () => {
  const defaults = catalogueDefaults();

  it('holds what the agent acts on, in canonical form, and is fingerprinted over exactly its bytes', () => {
    const { json, fingerprint } = settingsDocument(defaults);
    expect(JSON.parse(json)).to.deep.equal(agentSettings(defaults));
    expect(json).to.equal(
      '{"certificateLifetimeDays":30,"communicationDirection":"bidirectional","componentsWatched":[],' +
        '"connectionMode":"held","firewallRules":[],"heartbeatIntervalSeconds":60,"listenerAllowedSources":[],"listenerPort":4118,' +
        '"managerUrls":[],"pingIntervalSeconds":30,"pongTimeoutSeconds":10,"proxies":[],"proxyFallbackDirect":true,' +
        '"renewAfterExpiryDays":7,"spoolMaxMegabytes":256}',
    );
    expect(fingerprint).to.equal(createHash('sha256').update(Buffer.from(json, 'utf8')).digest('hex'));
    expect(fingerprintOf(json)).to.equal(fingerprint);
  });

  it('does not depend on the order of keys', () => {
    const reversed = Object.fromEntries(Object.entries(defaults).toReversed()) as unknown as typeof defaults;
    expect(settingsDocument(reversed)).to.deep.equal(settingsDocument(defaults));
  });

  it('hashes UTF-8, not UTF-16', () => {
    const values = { ...defaults, componentsWatched: [{ name: 'Wächter', kind: 'process', match: 'w' }] } as const;
    const { json, fingerprint } = settingsDocument(values);
    expect(fingerprint).to.equal(createHash('sha256').update(new TextEncoder().encode(json)).digest('hex'));
  });

  for (const key of SETTING_KEYS) {
    const { audience } = SETTINGS_CATALOGUE[key];
    it(`${audience === 'manager' ? 'keeps' : 'changes'} the fingerprint when ${key} changes`, () => {
      const changed = settingsDocument({ ...defaults, [key]: 'another' });
      expect(changed.fingerprint === settingsDocument(defaults).fingerprint).to.equal(audience === 'manager');
    });
  }
});
