import { settingsPatchFaults } from '../../policies/settings-patch.js';

/** JSON schemas of what is keyed by the setting catalogue. */
export const SETTINGS_PATCH_SCHEMA = {
  free: {
    type: 'object',
    description: 'JSON Merge Patch by setting key: absent leaves, null returns to inherited, a value overrides.',
    additionalProperties: true,
  },
  faultsOf: settingsPatchFaults,
} as const;

const REFERENCE = { type: 'object', properties: { id: { type: 'string' }, name: { type: 'string' } } } as const;

const SETTING = {
  type: 'object',
  required: ['value', 'inherited', 'source', 'shadows', 'void', 'lock'],
  properties: {
    value: {},
    inherited: { type: 'boolean' },
    source: {
      type: 'object',
      properties: {
        kind: {
          enum: ['default', 'policy', 'computer', 'forced', 'above'],
          description: 'above: a policy that you may not see',
        },
        ...REFERENCE.properties,
      },
    },
    shadows: { type: 'array', items: { type: 'object', additionalProperties: true } },
    void: { type: 'array', items: { type: 'object', additionalProperties: true } },
    lock: {
      type: ['object', 'null'],
      properties: { mode: { enum: ['locked', 'tightenOnly'] }, policy: { ...REFERENCE, type: ['object', 'null'] } },
    },
  },
} as const;

export const SETTINGS_VIEW_SCHEMA = {
  free: {
    type: 'object',
    required: ['revision', 'fingerprint', 'settings'],
    properties: {
      revision: { type: 'integer' },
      fingerprint: { type: 'string', description: 'Lower-case hex SHA-256 of what the agent acts on.' },
      settings: { type: 'object', additionalProperties: SETTING },
    },
  },
} as const;

export const CATALOGUE_SCHEMA = {
  free: {
    type: 'object',
    required: ['items', 'next'],
    properties: {
      items: { type: 'array', items: { type: 'object', additionalProperties: true } },
      next: { type: 'null' },
    },
  },
} as const;
