/** A computer named as an example. */
export interface PreviewedComputer {
  readonly id: string;
  readonly name: string;
}

/** How many of each list an answer names at most. */
export const SAMPLE_MAX = 10;

/**
 * What an edit would do if it were saved at this instant. All counts are exact and of the computers whose effective
 * settings it changes.
 */
export interface Preview {
  readonly computersChanged: number;
  /** By setting key, only where it is not 0. */
  readonly bySetting: Readonly<Record<string, number>>;
  /** How many are late or offline by the rules as they are. */
  readonly present: { readonly late: number; readonly offline: number };
  /** By the rules after the edit, with the intervals that the agents run on now. */
  readonly wouldBeLate: number;
  readonly wouldBeOffline: number;
  /** The same if the agents ran on their new intervals already: silences longer than the new windows. */
  readonly steadyState: { readonly wouldBeLate: number; readonly wouldBeOffline: number };
  /** Computers that are not known to be reachable but over the way that the edit would forbid. */
  readonly wouldLoseDirection: number;
  /** Of each, the first few in the order of their ids. */
  readonly sample: {
    readonly computersChanged: readonly PreviewedComputer[];
    readonly wouldBeLate: readonly PreviewedComputer[];
    readonly wouldBeOffline: readonly PreviewedComputer[];
    readonly wouldLoseDirection: readonly PreviewedComputer[];
    readonly steadyState: {
      readonly wouldBeLate: readonly PreviewedComputer[];
      readonly wouldBeOffline: readonly PreviewedComputer[];
    };
  };
}
