import { createRequire } from 'node:module';
import { readFileSync } from 'node:fs';
import { dirname, extname, join } from 'node:path';
import { Readable } from 'node:stream';
import { Router, type Response } from 'express';

/** The files of swagger-ui-dist that the page needs; nothing else of the package is served. */
const ASSETS: readonly string[] = ['swagger-ui.css', 'swagger-ui-bundle.js', 'favicon-32x32.png'];
const PART_BYTES = 64 * 1024;
const PAGE_POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
  "base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const INIT_SCRIPT = `window.addEventListener('DOMContentLoaded', () => {
  SwaggerUIBundle({
    url: '/api/v1/openapi.json',
    dom_id: '#swagger-ui',
    deepLinking: true,
    validatorUrl: null,
    presets: [SwaggerUIBundle.presets.apis],
  });
});
`;

const DOCS_PAGE = `<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <title>Wardbeat API</title>
    <link rel="stylesheet" href="/docs/swagger-ui.css">
    <link rel="icon" href="/docs/favicon-32x32.png">
  </head>
  <body>
    <div id="swagger-ui"></div>
    <script src="/docs/swagger-ui-bundle.js"></script>
    <script src="/docs/init.js"></script>
  </body>
</html>
`;

const LANDING_PAGE = `<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <title>Wardbeat</title>
  </head>
  <body>
    <h1>Wardbeat</h1>
    <p>This is the manager. Its REST API is at <a href="/api/v1/openapi.json">/api/v1</a>,
      described and to be tried at <a href="/docs">/docs</a>.</p>
    <p>State: <a href="/healthz">/healthz</a>, <a href="/readyz">/readyz</a>, <a href="/metrics">/metrics</a>.</p>
  </body>
</html>
`;

/** `/` says where everything is; `/docs` shows the OpenAPI document with scripts of our own origin only. */
export function documentationPages(): Router {
  const folder = dirname(createRequire(import.meta.url).resolve('swagger-ui-dist/package.json'));
  const router = Router({ caseSensitive: true });
  router.get('/', (_request, response) => sendPage(response, LANDING_PAGE));
  router.get('/docs', (_request, response) => sendPage(response, DOCS_PAGE));
  router.get('/docs/init.js', (_request, response) => void response.type('js').send(INIT_SCRIPT));
  for (const asset of ASSETS) {
    const parts = partsOf(readFileSync(join(folder, asset)));
    router.get(`/docs/${asset}`, (_request, response) => {
      response.type(extname(asset));
      Readable.from(parts, { objectMode: false, highWaterMark: PART_BYTES }).pipe(response);
    });
  }
  return router;
}

/** However many ask and do not read: they share the bytes in memory, and each is sent a part at a time. */
function partsOf(bytes: Buffer): Buffer[] {
  const count = Math.ceil(bytes.length / PART_BYTES);
  return Array.from({ length: count }, (_, index) => bytes.subarray(index * PART_BYTES, (index + 1) * PART_BYTES));
}

function sendPage(response: Response, html: string): void {
  response.setHeader('Content-Security-Policy', PAGE_POLICY);
  response.type('html').send(html);
}
