export interface ProblemKind {
  readonly status: number;
  readonly title: string;
  /** The detail where whoever throws it has none of its own: what to do. */
  readonly remedy?: string;
}

/**
 * Every problem code with its HTTP status and title (RFC 9457). Status and title are written nowhere else;
 * docs/errors.md lists each with cause and remedy.
 */
export const PROBLEM_CODES = {
  'request-invalid': { status: 400, title: 'Request is invalid' },
  'not-authenticated': { status: 401, title: 'Authentication is required' },
  'credentials-refused': { status: 401, title: 'Name or password is wrong' },
  'second-factor-required': {
    status: 401,
    title: 'A code is required beside the password',
    remedy: 'Send `code` with name and password: what the authenticator shows, or a recovery code.',
  },
  'second-factor-refused': {
    status: 401,
    title: 'The code is wrong or used up',
    remedy: 'Wait for the next code of the authenticator, check the clock of its device, or use a recovery code.',
  },
  forbidden: { status: 403, title: 'Permission is missing' },
  'beyond-scope': { status: 403, title: 'It reaches beyond the policies that the role is bound to' },
  'release-code-refused': { status: 403, title: 'The code ends no isolation' },
  'password-change-required': {
    status: 403,
    title: 'The password must be changed first',
    remedy: 'POST /api/v1/users/current/password with the present and a new one, then sign in again.',
  },
  'second-factor-missing': {
    status: 403,
    title: 'A second factor is needed for this',
    remedy: 'Set one up at POST /api/v1/users/current/second-factor.',
  },
  'proof-required': {
    status: 403,
    title: 'Prove again who you are',
    remedy: 'POST /api/v1/sessions/current/proof with the password, and a code where a second factor is set up.',
  },
  'csrf-token-invalid': { status: 403, title: 'CSRF token is missing or wrong' },
  'origin-refused': { status: 403, title: 'Origin or host is not served' },
  'certificate-required': { status: 403, title: 'A client certificate is required' },
  'certificate-refused': { status: 403, title: 'The client certificate is refused' },
  'clock-skew': { status: 403, title: "The certificate is outside its dates by the manager's clock" },
  'computer-removed': { status: 403, title: 'The computer was removed' },
  'computer-revoked': { status: 403, title: 'The computer is revoked' },
  'identity-mismatch': { status: 403, title: 'The body names another computer' },
  'enrollment-token-refused': { status: 403, title: 'The enrollment token is refused' },
  'renewal-refused': { status: 403, title: 'The certificate cannot be renewed this way' },
  'csr-invalid': { status: 400, title: 'The signing request is invalid' },
  'protocol-version-unsupported': { status: 400, title: 'The protocol version is not supported' },
  'route-not-found': { status: 404, title: 'No such route' },
  'policy-not-found': {
    status: 404,
    title: 'Policy not found',
    remedy: 'GET /api/v1/policies lists those that you may see.',
  },
  'computer-not-found': {
    status: 404,
    title: 'Computer not found',
    remedy: 'GET /api/v1/computers lists those that you may see.',
  },
  'alert-not-found': {
    status: 404,
    title: 'Alert not found',
    remedy: 'GET /api/v1/alerts lists those that you may see.',
  },
  'command-not-found': {
    status: 404,
    title: 'Command not found',
    remedy: 'GET /api/v1/computers/:id/commands lists those of a computer.',
  },
  'command-file-not-found': {
    status: 404,
    title: 'The command has no complete file',
    remedy: 'It brought none, not all of it has arrived, or it is older than 7 days: look at its `file`.',
  },
  'operation-not-found': { status: 404, title: 'Operation not found', remedy: 'GET /api/v1/operations lists them.' },
  'maintenance-window-not-found': {
    status: 404,
    title: 'Maintenance window not found',
    remedy: 'GET /api/v1/maintenance-windows lists those made by API.',
  },
  'revision-not-found': {
    status: 404,
    title: 'Revision not found',
    remedy: 'GET /api/v1/policies/:id/revisions lists them.',
  },
  'api-key-not-found': { status: 404, title: 'API key not found', remedy: 'GET /api/v1/api-keys lists them.' },
  'user-not-found': { status: 404, title: 'User not found', remedy: 'GET /api/v1/users lists them.' },
  'enrollment-token-not-found': {
    status: 404,
    title: 'Enrollment token not found',
    remedy: 'GET /api/v1/enrollment-tokens lists them.',
  },
  'notification-channel-not-found': {
    status: 404,
    title: 'Notification channel not found',
    remedy: 'GET /api/v1/notification-channels lists them.',
  },
  'notification-route-not-found': {
    status: 404,
    title: 'Notification route not found',
    remedy: 'GET /api/v1/notification-routes lists them.',
  },
  'notification-delivery-not-found': {
    status: 404,
    title: 'Notification delivery not found',
    remedy: 'GET /api/v1/notification-deliveries lists those that the log still holds.',
  },
  'session-not-found': {
    status: 404,
    title: 'Session not found',
    remedy: 'The call carries no session, or one that has ended: sign in at POST /api/v1/sessions.',
  },
  'second-factor-not-found': {
    status: 404,
    title: 'No second factor is set up',
    remedy: 'POST /api/v1/users/current/second-factor begins one.',
  },
  'setting-not-found': { status: 404, title: 'Setting not found' },
  'method-not-allowed': { status: 405, title: 'Method is not allowed here' },
  'request-timeout': { status: 408, title: 'The request did not arrive in time' },
  'policy-cycle': {
    status: 409,
    title: 'A policy cannot be its own ancestor',
    remedy: 'Choose a parent that is not below the policy.',
  },
  'policy-too-deep': { status: 409, title: 'The policy tree is too deep' },
  'policy-built-in': { status: 409, title: 'The built-in policy cannot be changed that way' },
  'name-taken': { status: 409, title: 'The name is taken' },
  'setting-locked': { status: 409, title: 'A policy above locks the setting' },
  'forced-by-kind': { status: 409, title: 'The kind of computer forces the setting' },
  'exchange-in-progress': { status: 409, title: 'Another exchange is in flight' },
  'in-use': { status: 409, title: 'It is in use' },
  'notification-channel-unsigned': {
    status: 409,
    title: 'This type of channel signs nothing',
    remedy: 'Only channels of type webhook sign what they send.',
  },
  'notification-secrets-unreadable': {
    status: 409,
    title: "The channel's secrets cannot be opened",
    remedy: 'Give its password or URL anew by PATCH.',
  },
  'second-factor-exists': {
    status: 409,
    title: 'A second factor is set up already',
    remedy: 'Remove it first: DELETE /api/v1/users/current/second-factor.',
  },
  'second-factor-unreadable': {
    status: 409,
    title: 'The second factor cannot be opened',
    remedy: 'Restore keys/access-secret, or sign in with a recovery code and set it up anew.',
  },
  'alert-already-closed': { status: 409, title: 'The alert is closed already' },
  'command-not-cancellable': { status: 409, title: 'The command cannot be cancelled any more' },
  'command-queue-full': { status: 409, title: 'The computer has too many open commands' },
  'idempotency-key-reused': { status: 409, title: 'The idempotency key was used for something else' },
  'collection-stopped': { status: 409, title: 'Collection is stopped on this computer' },
  'computer-isolated': {
    status: 409,
    title: 'The computer is isolated',
    remedy:
      'Its record holds what the code of POST /api/v1/computers/:id/release-code is made from. Release the computer first, or note the code and repeat with ?force=true.',
  },
  'not-isolated': { status: 409, title: 'The computer is not isolated' },
  'manager-stopping': { status: 409, title: 'The manager is being stopped' },
  'alert-resolves-itself': { status: 409, title: 'The alert resolves itself' },
  'revision-stale': {
    status: 412,
    title: 'It was changed since it was read',
    remedy: 'Read it again and repeat the edit with the new ETag.',
  },
  'body-too-large': { status: 413, title: 'The body is too large' },
  'content-type-unsupported': { status: 415, title: 'The content type or encoding is not supported' },
  'if-match-required': { status: 428, title: 'If-Match is required' },
  'too-many-requests': {
    status: 429,
    title: 'Too many requests',
    remedy: 'Try again after the seconds of Retry-After.',
  },
  internal: { status: 500, title: 'Internal error' },
  'spool-unavailable': { status: 503, title: 'The spool takes nothing at this moment' },
  unavailable: { status: 503, title: 'Not available at this moment' },
} as const satisfies Record<string, ProblemKind>;

export type ProblemCode = keyof typeof PROBLEM_CODES;
