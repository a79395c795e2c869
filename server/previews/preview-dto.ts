import { Integer, Optional, OptionalOrNull, Uuid } from '../admin-api/dto.js';
import { Shown } from '../admin-api/shown.js';
import { SettingsPatchMember } from '../policies/index.js';
import type { Preview } from './preview.js';

const SETTINGS = {
  description: 'JSON Merge Patch by setting key: absent leaves, null returns to inherited, a value overrides.',
} as const;

export class PreviewPolicyBody {
  @Optional()
  @SettingsPatchMember(SETTINGS)
  settings?: Record<string, unknown>;

  /** The new parent; null makes it a root. */
  @OptionalOrNull()
  @Uuid()
  parentId?: string | null;
}

export class PreviewComputerBody {
  @Optional()
  @SettingsPatchMember(SETTINGS)
  settings?: Record<string, unknown>;

  /** The policy that it would be attached to. */
  @Optional()
  @Uuid()
  policyId?: string;
}

const COUNT = { type: 'integer', minimum: 0 } as const;
const WOULD_BE = {
  type: 'object',
  required: ['wouldBeLate', 'wouldBeOffline'],
  properties: { wouldBeLate: COUNT, wouldBeOffline: COUNT },
} as const;
const EXAMPLES = {
  type: 'array',
  maxItems: 10,
  items: { type: 'object', properties: { id: { type: 'string', format: 'uuid' }, name: { type: 'string' } } },
} as const;
const WOULD_BE_EXAMPLES = {
  type: 'object',
  properties: { wouldBeLate: EXAMPLES, wouldBeOffline: EXAMPLES },
} as const;

const COUNT_MAX = Number.MAX_SAFE_INTEGER;

/** Exact counts, of the computers whose effective settings the edit changes. */
export class PreviewDto implements Preview {
  @Integer(0, COUNT_MAX)
  computersChanged!: number;

  /** Computers by setting key whose effective value changes. */
  @Shown({ type: 'object', additionalProperties: COUNT })
  bySetting!: Record<string, number>;

  @Shown({
    type: 'object',
    description:
      'of the computers whose settings the edit changes, those that are late or offline at this instant by the rules as ' +
      'they are: to compare wouldBeLate and wouldBeOffline with',
    required: ['late', 'offline'],
    properties: { late: COUNT, offline: COUNT },
  })
  present!: Preview['present'];

  /** By the rules after the edit at this instant; those that would be offline are not counted as late. */
  @Integer(0, COUNT_MAX)
  wouldBeLate!: number;

  @Integer(0, COUNT_MAX)
  wouldBeOffline!: number;

  /** The same if every agent ran on its new interval already. */
  @Shown(WOULD_BE)
  steadyState!: Preview['steadyState'];

  /** Heard before, and not known to be reachable but over the way that the edit forbids. */
  @Integer(0, COUNT_MAX)
  wouldLoseDirection!: number;

  /** Up to ten computers of each count. */
  @Shown({
    type: 'object',
    properties: {
      computersChanged: EXAMPLES,
      wouldBeLate: EXAMPLES,
      wouldBeOffline: EXAMPLES,
      wouldLoseDirection: EXAMPLES,
      steadyState: WOULD_BE_EXAMPLES,
    },
  })
  sample!: Preview['sample'];
}
