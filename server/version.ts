import { VERSION } from '../lib/version.js';

export const MANAGER_VERSION = VERSION;
