export { composeDiagnosis, type ComposeDiagnosisDeps } from './compose-diagnosis.js';
export { createRefusalRecorder, type RefusalRecorder } from './refusal-recorder.js';
