import process from 'node:process';

/** Whether this run takes the time that everything needs: `npm run test:all`, and `npm run test:one`. */
export const RUNS_SLOW = process.env.PLUGIN_MIRROR_TEST_SLOW === '1';

/**
 * Options of a test that takes long and that `npm test` leaves out: `it('…', slow, async t => …)`. What it is about has a
 * quicker test, too.
 */
export const slow: { readonly skip?: string } = RUNS_SLOW ? {} : { skip: 'slow, run by npm run test:all' };

/** The same for the cases of a list of which one is enough as a sample. */
export const slowUnless = (isSample: boolean): typeof slow => (isSample ? {} : slow);

/** The cases of a list that one test tries in turn: the first `count` where there is no time for all. */
export const sample = <T>(cases: readonly T[], count = 1): readonly T[] => (RUNS_SLOW ? cases : cases.slice(0, count));

/** How often a property is tried or a process killed: `many` times where there is time. */
export const times = (few: number, many: number): number => (RUNS_SLOW ? many : few);
