export { createSecondFactorJudge, type SecondFactorJudge } from './second-factor-judge.js';
export { secondFactorRoutes } from './second-factor-routes.js';
export { createSecondFactorService, dropSecondFactor, type SecondFactorService } from './second-factor-service.js';
