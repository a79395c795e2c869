import { isChangeAlerting } from '../../policies/clock-rules.js';
import { isSameStep, isTold, type ToldStep } from '../../policies/clock-steps.js';
import type { FoundClockChange } from './clock-findings.js';
import { CLOCK_DRIFT, toldBy, type AlertedStep, type ClockStepRepository } from './clock-step-repository.js';
import type { HotSession } from './hot-session.js';
import type { AcceptedWork } from './report-work.js';

/** The steps of a computer's clock that a report brings to light, each once, whoever was first to notice. */
export interface NewSteps {
  readonly work: AcceptedWork;
  readonly found: FoundClockChange | null;
  readonly told: readonly ToldStep[];
  /** Told at last, after an open drift had begun with it. */
  readonly drifted: readonly ToldStep[];
}

/** No statement where nothing was told or found above the limit. */
export async function newSteps(
  steps: ClockStepRepository,
  session: HotSession,
  works: readonly AcceptedWork[],
): Promise<NewSteps[]> {
  const noticed = works.map(noticedBy).filter(({ found, told }) => found !== null || told.length > 0);
  const toldBefore = await steps.readTold(session, noticed.flatMap(spanOf));
  const telling = noticed.filter(({ told }) => told.length > 0);
  const foundBefore = await steps.readFound(
    session,
    telling.map(({ work }) => work.live.computerId),
  );
  return noticed.map(({ work, found, told }) => {
    const { computerId } = work.live;
    const tellings = [...(toldBefore.get(computerId) ?? []), ...tellingsOf(work)];
    const alerted = told.map((step) => [step, alertOf(step, foundBefore.get(computerId))] as const);
    return {
      work,
      found: found && isTold(found, tellings) ? null : found,
      told: alerted.filter(([, alert]) => alert === undefined).map(([step]) => step),
      drifted: alerted.filter(([, alert]) => alert === CLOCK_DRIFT).map(([step]) => step),
    };
  });
}

/** The type of the alert that a step had before it was told. */
function alertOf(step: ToldStep, found: readonly AlertedStep[] = []): AlertedStep['type'] | undefined {
  return found.find((before) => isSameStep(step, before))?.type;
}

function noticedBy(work: AcceptedWork): NewSteps {
  const { clockLimits } = work.settings;
  const { change, isLeftToAgent } = work.acceptance.clock;
  const told = tellingsOf(work).filter(({ stepMs }) => isChangeAlerting(stepMs, clockLimits));
  return { work, found: isLeftToAgent ? null : change, told, drifted: [] };
}

/** Each once, since a lane's events are taken once. */
function tellingsOf({ lanes }: AcceptedWork): ToldStep[] {
  return lanes.events.map(toldBy).filter((step) => step !== undefined);
}

function spanOf({ work: { live }, found }: NewSteps) {
  if (!found || live.lastSeenAt === null) return [];
  return [{ computerId: live.computerId, after: found.knownAt, until: live.lastSeenAt }];
}
