import { toRfc3339 } from '../../lib/clock.js';
import { pageSchemaOf } from '../admin-api/dto-schemas.js';
import { defineRoute, type RouteDefinition } from '../admin-api/route.js';
import { CertificateDto, CertificatesQuery, ForecastDto, ForecastQuery } from './certificate-dto.js';
import { CERTIFICATE_ORDER, createCertificateReading, type CertificateReadingDeps } from './certificate-query.js';
import type { OwnCertificate } from './manager-certificate.js';

export interface CertificateRoutesDeps extends CertificateReadingDeps {
  /** What the manager itself needs: only the whole forest shows it. */
  readonly own: () => readonly OwnCertificate[];
}

const permission = 'auditor';
const reach = 'scope';
const tag = 'certificates';

export function certificateRoutes(deps: CertificateRoutesDeps): RouteDefinition[] {
  const reading = createCertificateReading(deps);
  return [
    defineRoute({
      method: 'get',
      path: '/certificates',
      permission,
      reach,
      tag,
      summary: 'The certificates of computers, those that end first first',
      query: CertificatesQuery,
      list: CERTIFICATE_ORDER,
      reply: { status: 200, body: pageSchemaOf(CertificateDto) },
      handle: async ({ scope, query }) => ({ body: await reading.list(scope, query) }),
    }),
    defineRoute({
      method: 'get',
      path: '/certificates/forecast',
      permission,
      reach,
      tag,
      summary: 'When certificates end and are renewed, by day, and who is late',
      query: ForecastQuery,
      reply: { status: 200, body: ForecastDto },
      async handle({ scope, query }) {
        const own = scope.isAll ? deps.own() : [];
        const manager = own.map(({ name, notAfter }) => ({ name, notAfter: toRfc3339(notAfter) }));
        return { body: { ...(await reading.forecast(scope, query)), manager } };
      },
    }),
  ];
}
