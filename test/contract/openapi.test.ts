import { expect } from 'chai';
import { readFileSync } from 'node:fs';

interface Operation {
  readonly 'x-permission'?: string;
  readonly 'x-reach'?: string;
}

interface OpenApiFile {
  readonly openapi: string;
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
  readonly components: { readonly schemas: Readonly<Record<string, { properties: object }>> };
}

const ROUTES: Readonly<Record<string, string>> = {
  '/sessions': 'post',
  '/sessions/current': 'delete',
  '/api-keys': 'get post',
  '/api-keys/{id}': 'delete',
  '/policies': 'get post',
  '/policies/{id}': 'get patch delete',
  '/policies/tree': 'get',
  '/policies/{id}/settings': 'get patch',
  '/policies/{id}/locks/{key}': 'put delete',
  '/policies/{id}/preview': 'post',
  '/policies/{id}/rehearse': 'post',
  '/policies/{id}/revisions': 'get',
  '/policies/{id}/rollback': 'post',
  '/computers': 'get post',
  '/computers/{id}': 'get patch delete',
  '/computers/{id}/settings': 'get patch',
  '/computers/{id}/preview': 'post',
  '/computers/{id}/revoke': 'post',
  '/computers/{id}/status-history': 'get',
  '/computers/{id}/events': 'get',
  '/computers/{id}/heartbeats': 'get',
  '/computers/{id}/gaps': 'get',
  '/computers/{id}/diagnosis': 'get',
  '/computers/{id}/probe': 'post',
  '/computers/{id}/power-state': 'put',
  '/settings-catalogue': 'get',
  '/alerts': 'get',
  '/alerts/{id}': 'get',
  '/alerts/{id}/acknowledge': 'post',
  '/alerts/{id}/dismiss': 'post',
  '/enrollment-tokens': 'get post',
  '/enrollment-tokens/{id}': 'delete',
  '/reports/availability': 'get',
  '/system': 'get',
  '/system/jobs': 'get',
  '/system/drain': 'post delete',
  '/events': 'get',
  '/openapi.json': 'get',
};

const MEMBERS: Readonly<Record<string, string>> = {
  ComputerDto:
    'id name kind address addressSource policy labels status statusReason statusSince lastSeenAt missedHeartbeats ' +
    'nextExpectedAt offlineAt clockOffsetMs settingsState fingerprint communicationDirection connectionMode carrierInUse ' +
    'channel listenerReachable lastDial agentVersion platform flags',
  ComputerDetailDto: 'components counters facts agentTimeAt tls certificate',
  AlertReply: 'id type severity state computerId computerName raisedAt closedAt reason detail',
  DiagnosisDto: 'status reason confidence evidence advice',
  EvidenceDto: 'at source code detail',
  ProbeDto: 'at result hostUp',
  EventDto: 'id lane epoch sequence occurredAt receivedAt kind code severity message data',
  HeartbeatDto: 'receivedAt latenessMs clockOffsetMs latencyMs',
  PreviewDto: 'computersChanged bySetting wouldBeLate wouldBeOffline wouldLoseDirection steadyState sample',
  JobReply: 'name cron lastRunAt nextRunAt lastDurationMs runs lastError',
  VerdictStateReply: 'state reason since until',
  DrainReply: 'state since endsAt resumesAt',
  DeadManReply: 'configured lastOkAt lastError',
};

/** What an operator may change, by the first part of the path. */
const OPERATORS_PARTS = ['policies', 'computers', 'alerts', 'maintenance-windows', 'commands', 'operations'];
/** An administrator's, although the part is an operator's. */
const ADMINISTRATORS = ['post /computers/{id}/revoke', 'delete /computers/{id}'];
/** What is served before anybody signs in. */
const PUBLIC = ['post /sessions', 'get /openapi.json'];
/** First parts of paths that concern the whole manager, and how the pages call them. */
const CLOSED_TO_BOUND_ROLES: readonly (readonly [part: string, called: string])[] = [
  ['audit', 'audit'],
  ['notification-channels', 'notification channels'],
  ['notification-routes', 'notification routes'],
  ['system', '/system'],
];
/** Everybody's own. */
const OWN = /^\w+ \/(sessions\/|users\/current\/)/;

function permissionOf(method: string, path: string): string {
  const name = `${method} ${path}`;
  if (PUBLIC.includes(name)) return 'public';
  if (method === 'get' || OWN.test(name)) return 'auditor';
  const isOperators = OPERATORS_PARTS.includes(path.split('/')[1] ?? '') && !ADMINISTRATORS.includes(name);
  return isOperators ? 'operator' : 'administrator';
}

describe('the REST contract', () => {
  const file = JSON.parse(readFileSync('docs/openapi.json', 'utf8')) as OpenApiFile;
  const operations = Object.entries(file.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ path: path.replace('/api/v1', ''), method, operation })),
  );

  it('is described in OpenAPI 3.1', () => {
    expect(file.openapi).to.match(/^3\.1\./);
  });

  for (const [path, methods] of Object.entries(ROUTES))
    it(`has ${methods} ${path}`, () => {
      expect(Object.keys(file.paths[`/api/v1${path}`] ?? {})).to.include.members(methods.split(' '));
    });

  for (const [schema, members] of Object.entries(MEMBERS))
    it(`answers every member of ${schema}`, () => {
      expect(file.components.schemas[schema]?.properties).to.include.keys(members.split(' '));
    });

  it('asks for the permission that the contract names, on every operation', () => {
    const declared = operations.map(({ path, method, operation }) => [method, path, operation['x-permission']]);
    expect(declared).to.deep.equal(operations.map(({ path, method }) => [method, path, permissionOf(method, path)]));
  });

  for (const page of ['README.md', 'docs/security.md', 'docs/operations.md'])
    it(`is closed to bound roles where ${page} says so`, () => {
      const text = readFileSync(page, 'utf8');
      const closed = operations.filter(({ operation }) => operation['x-reach'] === 'manager');
      const parts = new Set(closed.map(({ path }) => path.split('/')[1] ?? ''));
      expect([...parts].toSorted()).to.deep.equal(CLOSED_TO_BOUND_ROLES.map(([part]) => part));
      const line = text.split('\n').find((one) => one.includes('notification channels') && one.includes('/system'));
      for (const [part, called] of CLOSED_TO_BOUND_ROLES) expect(line, part).to.include(called);
    });
});
