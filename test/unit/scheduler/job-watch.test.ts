import { expect } from 'chai';
import type { ManagerNote } from '../../../server/events/manager-journal.js';
import { createJobWatch } from '../../../server/scheduler/job-watch.js';
import { FakeClock } from '../../support/fake-clock.js';

describe('telling of jobs that fail', () => {
  const told = (notes: readonly ManagerNote[]) => notes.map(({ kind, data }) => `${kind} ${String(data?.['job'])}`);
  function start() {
    const notes: ManagerNote[] = [];
    const clock = new FakeClock();
    return { notes, clock, watch: createJobWatch({ journal: { note: (note) => void notes.push(note) }, clock }) };
  }

  it('names the job, the error and the recovery', () => {
    const { notes, watch } = start();
    watch({ job: 'partitions', error: 'no space' });
    watch({ job: 'partitions', error: null });
    expect(told(notes)).to.deep.equal(['job-failed partitions', 'job-recovered partitions']);
    expect(notes[0]?.data).to.deep.equal({ job: 'partitions', error: 'no space' });
  });

  it('tells of a flapping job once a minute, and of others meanwhile', async () => {
    const { notes, watch, clock } = start();
    for (let second = 0; second < 59; second += 1) {
      watch({ job: 'a', error: 'x' });
      watch({ job: 'a', error: null });
      await clock.advance(1000);
    }
    watch({ job: 'b', error: 'x' });
    expect(told(notes)).to.deep.equal(['job-failed a', 'job-recovered a', 'job-failed b']);
    await clock.advance(1000);
    watch({ job: 'a', error: 'y' });
    expect(told(notes).at(-1)).to.equal('job-failed a');
  });
});
