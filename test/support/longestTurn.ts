import process from 'node:process';
import { setTimeout as delay } from 'node:timers/promises';

/** The most milliseconds that one piece of work may take: a signal or a timer is served within a second on any machine. */
export const LONGEST_TURN_MS = 250;

/**
 * The longest turn of the event loop while `work` runs, in milliseconds of this process's processor time: another program's work
 * does not count.
 */
export async function longestTurn(work: () => Promise<unknown>): Promise<number> {
  let [longest, last] = [0, process.cpuUsage()];
  const timer = setInterval(() => {
    const { user, system } = process.cpuUsage(last);
    longest = Math.max(longest, (user + system) / 1000);
    last = process.cpuUsage();
  }, 1);
  await delay(20);
  longest = 0;
  try {
    await work();
    await delay(20);
  } finally {
    clearInterval(timer);
  }
  return Math.round(longest);
}

/**
 * The least of three such longest turns: garbage is collected during some of them, and a busy machine needs more processor time for
 * the same work.
 */
export async function usualTurn(work: () => Promise<unknown>): Promise<number> {
  const turns: number[] = [];
  for (let attempt = 0; attempt < 3; attempt++) turns.push(await longestTurn(work));
  return Math.min(...turns);
}
